#!/bin/bash
# The shim linked as a program's malloc, and an arena as a heap beside the
# program's own: the examples, and what makes the difference.
. "$(dirname "$0")/helpers/script.sh"
examples=$PWD/$BUILD/examples
in_time() { timeout -k 10 120 "$@"; }

# ---- an explicit heap ----------------------------------------------------------------

cat >"$work/want" <<'TEXT'
written: the list is in the region, this word is not
read in place: node 1
read in place: node 2
read in place: node 3
TEXT
in_time "$examples/explicit_heap" "${prefix}heap" >"$work/out" 2>"$work/err" && status=0 || status=$?
verify "explicit_heap: what another process reads in place" diff "$work/want" "$work/out"
verify "  and ends well, leaving no region" eval '[ $status = 0 ] && nothing_left'
: >"/dev/shm${prefix}heap"
in_time "$examples/explicit_heap" "${prefix}heap" >"$work/out" 2>"$work/err" && status=0 || status=$?
verify "  where the name is taken it says so and fails" \
	eval '[ $status = 1 ] && [ "$(cat "$work/err")" = "${prefix}heap: File exists" ]'
rm "/dev/shm${prefix}heap"

# ---- a drop-in -----------------------------------------------------------------------

needs_shim
drop_in() { # drop_in [KEY=VALUE...]: 5,000 lines
	seq 5000 | in_time env "$@" "$examples/drop_in" >"$work/out" 2>"$work/err" && status=0 || status=$?
}
drop_in SHMBIND_REGION="${prefix}lines" SHMBIND_PLACE='lines: size=..64' SHMBIND_LOG=0 SHMBIND_STATS="$work/stats.json"
verify "drop_in: every line is counted" eval '[ $status = 0 ] && [ "$(cat "$work/out")" = "5000 lines, 23893 bytes" ]'
verify "  and lies in the region: no preload, the rules of the environment" \
	[ "$(jq -c '[.rules[] | [.rule, .hits]]' "$work/stats.json")" = '[["lines: size=..64",5000]]' ]
verify "  and no region is left" nothing_left
verify "  the program needs the shim" eval 'readelf -d "$examples/drop_in" | grep -q "NEEDED.*libshmbind-preload.so"'
drop_in SHMBIND_NOSUCH=1
verify "a mistake in a variable: one line, and the program runs all the same" \
	eval '[ $status = 0 ] && [ -s "$work/out" ] && [ "$(cat "$work/err")" = "shmbind: SHMBIND_NOSUCH=1: no such key; running without a region" ]'

# while it runs, from outside
mkfifo "$work/fifo"
SHMBIND_REGION="${prefix}lines" SHMBIND_PLACE=all SHMBIND_LOG=0 in_time "$examples/drop_in" <"$work/fifo" >"$work/out" &
pid=$!
exec 7>"$work/fifo"
seq 5000 >&7
for _ in $(seq 500); do
	live=$("$tool" blocks "${prefix}lines" --json 2>/dev/null | jq '[.blocks[] | select(.state == "live")] | length') || live=0
	[ "${live:-0}" -lt 4000 ] || break # what is still in the pipe or its buffer comes later
	sleep 0.02
done
verify "while it runs the tool sees its blocks" [ "$live" -ge 4000 ]
verify "  and finds the heap sound" "$tool" check "${prefix}lines"
exec 7>&-
wait $pid
verify "  and then it ends as before" [ "$(cat "$work/out")" = "5000 lines, 23893 bytes" ]

# both at once: a program whose malloc is the shim, with an arena of its own
cat >"$work/both.c" <<'C'
#include <shmbind.h>
#include <stdio.h>
#include <stdlib.h>
int main(int argc, char **argv)
{
	shmb_options opt = {.size = 1 << 20};
	shmb_arena *a;
	char *p, *q;
	if (argc != 2 || shmb_arena_open(argv[1], &opt, &a) || !(p = shmb_malloc(a, 100)) || !(q = malloc(100)))
		return 1;
	printf("%d %d\n", shmb_arena_of(p) == a, shmb_arena_of(q) != NULL);
	shmb_free(a, p);
	free(q);
	return shmb_arena_close(a);
}
C
"$CC" -Wall -Wextra -Werror -Iinclude "$work/both.c" -o "$work/both" -L"$BUILD" -lshmbind -lshmbind-malloc \
	-Wl,-rpath,"$PWD/$BUILD"
SHMBIND_REGION=${prefix}malloc SHMBIND_PLACE=all SHMBIND_LOG=0 SHMBIND_STATS=$work/stats.json \
	in_time "$work/both" "${prefix}own" >"$work/out" 2>"$work/err" && status=0 || status=$?
verify "both in one program: the arena's blocks are the arena's, malloc's are not" \
	eval '[ $status = 0 ] && [ "$(cat "$work/out")" = "1 0" ]'
verify "  and malloc's are in the region of the variables" [ "$(jq '.rules[0].hits' "$work/stats.json")" -ge 1 ]
verify "  and no region is left" nothing_left
rows_hold
