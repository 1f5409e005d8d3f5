#!/bin/bash
# The statistics for machines: JSON that its schema describes, wholly, and the
# text format of Prometheus, of regions of several kinds, some of them hostile.
. "$(dirname "$0")/helpers/script.sh"
. tests/helpers/tool.sh
python=/usr/bin/python3

arena=${prefix}arena odd="${prefix}odd \"quoted\" \\ back"
start 1 arena $arena wait
"$helper" arena "$odd" leak >/dev/null
killed arena ${prefix}dead kill

# The schema as it is, and one that knows no member but those that it names.
cat >"$work/validate.py" <<'END'
import json, jsonschema, sys
schema = json.load(open("docs/stats.schema.json"))
jsonschema.Draft202012Validator.check_schema(schema)
def strict(s):
    if isinstance(s, dict):
        s = {k: strict(v) for k, v in s.items()}
        if "properties" in s:
            s["additionalProperties"] = False
    elif isinstance(s, list):
        s = [strict(v) for v in s]
    return s
data = json.load(open(sys.argv[1]))
for s in schema, strict(schema):
    jsonschema.Draft202012Validator(s).validate(data)
END
valid() { "$python" "$work/validate.py" "$1" 2>"$work/err"; }

for name in $arena "$odd" ${prefix}dead; do
	run stats --json "$name"
	verify "stats --json $name: as its schema says, and no member more" valid "$work/out"
done
jq '.capacity = "much"' "$work/out" >"$work/wrong"
verify "  which refuses a text for a number" eval '! valid "$work/wrong"'
jq 'del(.slots)' "$work/out" >"$work/wrong"
verify "  a member that is missing" eval '! valid "$work/wrong"'
jq '.schema = 2' "$work/out" >"$work/wrong"
verify "  another form" eval '! valid "$work/wrong"'
jq '.news = 1' "$work/out" >"$work/wrong"
verify "  and, strictly, a member that it does not know" eval '! valid "$work/wrong"'

# ---- the shim's -----------------------------------------------------------------------

case $SAN in
address | thread) echo "note: no shim beside this sanitizer: statistics with rules were not looked at" ;;
*)
	rules='first: size=64K..;second: size=64K..;!size=..16'
	"$tool" run --region ${prefix}rules --place "$rules" --stats "$work/stats.json" --log 0 -- \
		$python -c 'x = [bytearray(1 << 20) for _ in range(3)]
import subprocess, sys
sys.exit(subprocess.run(["'"$tool"'", "stats", "'${prefix}rules'", "--prometheus"], stdout=open("'"$work/rules.prom"'", "w"), env={}).returncode)'
	verify "SHMBIND_STATS of a program with rules, jemalloc's part included" eval 'valid "$work/stats.json" && [ "$(jq -c .engine_arenas "$work/stats.json")" != null ]'
	"$tool" run --region ${prefix}dry --dry-run --stats "$work/dry.json" --log 0 -- $python -c 'bytearray(1 << 20)'
	verify "SHMBIND_STATS of a dry run" valid "$work/dry.json"
	;;
esac

# ---- jemalloc's own ---------------------------------------------------------------------

# Two arenas with blocks of one size each: what jemalloc's arenas have of it that are said to serve each.
cat >"$work/two.c" <<'END'
#include <shmbind.h>
#include <stdio.h>
static void put(void *to, const char *text) { fputs(text, to); }
int main(int argc, char **argv)
{
	shmb_options opt = {.size = 16 << 20};
	shmb_arena *a[2];
	if (argc != 4 || shmb_arena_open(argv[1], &opt, &a[0]) || shmb_arena_open(argv[2], &opt, &a[1]))
		return 1;
	int err = shmb_stats_print(a[0], put, stdout, argv[3]); /* before it has an engine */
	for (int i = 0; i < 1000; i++)
		if (!shmb_malloc(a[0], 112) || !shmb_malloc(a[1], 2560))
			return 1;
	for (int i = 0; i < 2; i++)
		err = err ? err : shmb_stats_print(a[i], put, stdout, argv[3]);
	return err || shmb_arena_close(a[0]) || shmb_arena_close(a[1]);
}
END
"$CC" -Wall -Werror ${SAN:+-fsanitize=$SAN} -Iinclude "$work/two.c" "$BUILD/libshmbind.so.0" -Wl,-rpath,"$PWD/$BUILD" -o "$work/two"
"$work/two" ${prefix}one ${prefix}two J >"$work/two.json"
for n in 1 2 3; do
	sed -n ${n}p "$work/two.json" >"$work/one.json"
	verify "shmb_stats_print, $n: as the schema says" valid "$work/one.json"
done
served() { sed -n $1p "$work/two.json" | jq -c '.engine.jemalloc as $j | [.engine_arenas[] | $j["stats.arenas"]["\(.)"].bins as $bins |
	[range(0; $bins | length) | select($bins[.].curregs > 0) | $j.arenas.bin[.].size]] | add'; }
verify "  jemalloc's arenas of each region have its blocks, and no others" [ "$(served 2) $(served 3)" = '[112] [2560]' ]
verify "  where nothing was allocated there are none" [ "$(sed -n 1p "$work/two.json" | jq -c '.engine_arenas // "none"')" = '[]' ]
"$work/two" ${prefix}one ${prefix}two '' >"$work/two.text"
verify "  as text: their numbers, then jemalloc's dump" \
	eval '[ "$(grep -c "^jemalloc.s arenas in this process; of this region: [1-9]" "$work/two.text")" = 2 ] && grep -q "^arenas\[[1-9]\]:$" "$work/two.text"'

# ---- Prometheus ---------------------------------------------------------------------------

# Parses, prints NAME{LABELS} VALUE a line, sorted; refuses a sample that comes twice.
cat >"$work/parse.py" <<'END'
import sys
from prometheus_client.parser import text_string_to_metric_families
seen = set()
for family in text_string_to_metric_families(open(sys.argv[1]).read()):
    assert family.documentation and family.type in ("gauge", "counter"), family
    assert family.samples, family
    for s in family.samples:
        key = (s.name, tuple(sorted(s.labels.items())))
        assert key not in seen, key
        seen.add(key)
        print(s.name, *("%s=%s" % kv for kv in sorted(s.labels.items())), int(s.value), sep="|")
END
parsed() { "$python" "$work/parse.py" "$1" >"$work/parsed" 2>"$work/err"; }
has() { grep -qxF -e "$1" "$work/parsed"; }

run stats $arena --prometheus
verify "stats --prometheus: the client library parses it, no sample twice" parsed "$work/out"
verify "  capacity, live blocks of a class, large ones, processes" eval '
	has "shmbind_capacity_bytes|region=$arena|4194304" && has "shmbind_class_blocks|region=$arena|size=6144|state=live|100" &&
	has "shmbind_large_bytes|region=$arena|393216" && has "shmbind_processes|region=$arena|1"'
"$tool" stats $arena --json >"$work/json"
verify "  the same sums as the JSON" eval 'has "shmbind_live_bytes|region=$arena|$(jq .live_bytes "$work/json")" && has "shmbind_units|holds=free|region=$arena|$(jq .free_units "$work/json")"'
if command -v promtool >/dev/null; then
	verify "  promtool has nothing to say about it" eval '[ -z "$(promtool check metrics <"$work/out" 2>&1)" ]'
else
	echo "note: no promtool here (package prometheus, 95 MB): the client library's parser alone was asked"
fi
run stats "$odd" --prometheus
verify "  a name with quotes and a backslash" eval 'parsed "$work/out" && has "shmbind_capacity_bytes|region=$odd|4194304"'
run stats ${prefix}dead --prometheus
verify "  a dead owner's" eval 'parsed "$work/out" && has "shmbind_processes|region=${prefix}dead|0"'
if [ -e "$work/rules.prom" ]; then
	verify "  rules by number, each with its text" eval 'parsed "$work/rules.prom" &&
		grep -q "^shmbind_rule_hits_total|number=0|region=${prefix}rules|rule=first: size=64K..|[1-9]" "$work/parsed" &&
		grep -q "^shmbind_rule_hits_total|number=1|region=${prefix}rules|rule=second: size=64K..|0" "$work/parsed"'
fi

# counters that no signed number holds, in a header that lies
cp --sparse=always /dev/shm$arena /dev/shm${prefix}lies
printf '\377%.0s' {1..16} | dd of=/dev/shm${prefix}lies bs=1 seek=168 conv=notrunc status=none # enomem, fallbacks
run stats ${prefix}lies --json
verify "numbers up to 2^64-1 pass the schema" eval 'valid "$work/out" && grep -q "\"enomem\":18446744073709551615,\"fallbacks\":18446744073709551615" "$work/out"'
run stats ${prefix}lies --prometheus
verify "  and come out whole in Prometheus's format" grep -q '^shmbind_refused_total{.*} 18446744073709551615$' "$work/out"
"$helper" raw ${prefix}raw leak >/dev/null
text='No such file' fails 1 'that there is none' stats ${prefix}none --prometheus
text='not an arena' fails 1 'that it is no arena' stats --prometheus ${prefix}raw
text='one of --json, --prometheus, --html' fails 2 'that one will do' stats $arena --json --prometheus

verify "bash completes stats: its options" eval 'offers --prometheus stats $arena -- && offers --html stats -- && offers --json stats --j'

finish 1
rows_hold
