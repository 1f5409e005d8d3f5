#!/bin/bash
# Unmodified programs under `shmbind run`: what they print, the files they
# make and their exit status are the same as without, and nothing is left.
#
#   all        every allocation placed, fork=copy
#   64K        size=64K.. (the default rule), fork=copy
#   share      every allocation placed, fork=share. Only for programs whose
#              forked children do nothing but exec: in one memory a child that
#              goes on changes its parent's data, which share says it does.
#
# Prints a table: program, configuration, result, time as a multiple of the
# time without the shim (of one run each: the other load of the machine shows).
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build} SAN=${SAN:-}
case $SAN in
address | thread)
	echo "the sanitizer's runtime must come first and brings its own malloc: no shim beside it"
	exit 77
	;;
esac
top=$PWD
tool=$PWD/$BUILD/shmbind
prefix=/shmb-test-$$-
work=$(mktemp -d)
trap 'rm -rf "$work" /dev/shm/shmb-test-$$-*' EXIT
failures=0 rows=0 missing=
export HOME=$work TZ=UTC LC_ALL=C GIT_CONFIG_NOSYSTEM=1 PYTHONHASHSEED=1 PYTHONDONTWRITEBYTECODE=1 top
ulimit -c 0

# ---- inputs ---------------------------------------------------------------------------

mkdir "$work/in" "$work/programs"
/usr/bin/python3 - "$work/in" <<'END'
import random, sys
r = random.Random(7)
words = ["".join(r.choice("abcdefghijklmnop") for _ in range(r.randint(2, 9))) for _ in range(3000)]
with open(sys.argv[1] + "/lines", "w") as f:
    for i in range(300000):
        f.write("%s %d %s\n" % (r.choice(words), r.randrange(10**6), r.choice(words)))
with open(sys.argv[1] + "/sql", "w") as f:
    f.write("begin;create table t(id integer primary key, w text, n integer);\n")
    for i in range(30000):
        f.write("insert into t(w, n) values('%s', %d);\n" % (r.choice(words), r.randrange(1000)))
    f.write("""commit;create index i on t(w, n);
select count(*), sum(n), min(w), max(w) from t;
select w, count(*) c, avg(n) from t group by w order by c desc, w limit 20;
update t set n = n + 1 where id % 3 = 0;delete from t where id % 7 = 0;
select a.w, b.n from t a join t b on a.w = b.w and a.id < b.id order by 1, 2 limit 30;
with recursive c(x) as (select 1 union all select x + 1 from c where x < 100000) select sum(x) from c;
pragma integrity_check;vacuum;select count(distinct w) from t;
""")
END

# ---- programs: a script each, run by bash in an empty directory; $in is where the inputs are

program() { cat >"$work/programs/$1"; } # program NAME <SCRIPT
ordered=()
have() { # have NAME COMMAND: is it installed?
	if command -v "$2" >/dev/null; then
		ordered+=("$1")
	else
		missing+=" $2"
	fi
}

have python-data /usr/bin/python3
program python-data <<'END'
exec /usr/bin/python3 -c '
import json, re, os, hashlib, collections
lines = open(os.environ["in"] + "/lines").read().splitlines()[:60000]
d = collections.defaultdict(list)
for l in lines:
    a, n, b = l.split()
    d[a].append({"n": int(n), "b": b})
text = json.dumps(d, sort_keys=True)
back = json.loads(text)
assert back == d
print(len(text), hashlib.sha256(text.encode()).hexdigest())
print(len(re.findall(r"\b([a-f]+)\b \d*7 (\w+)", "\n".join(lines))))
print(sum(len(set(w for w in v["b"])) for x in back.values() for v in x))
big = [bytearray(b"x" * n) for n in range(0, 300000, 1000)]
print(sum(map(len, big)))
del big, back
print(sorted(d, key=lambda k: (len(d[k]), k))[-5:])'
END

have python-threads /usr/bin/python3
program python-threads <<'END'
exec /usr/bin/python3 -c '
import threading, subprocess, queue, hashlib, sys
q, out = queue.Queue(), {}
def work():
    while (i := q.get()) is not None:
        s = "".join(str(k * i) for k in range(3000))
        out[i] = hashlib.md5(s.encode()).hexdigest()
ts = [threading.Thread(target=work) for _ in range(4)]
for t in ts: t.start()
for i in range(200): q.put(i)
for i in range(10):
    r = subprocess.run(["/bin/sh", "-c", "cat; echo err >&2; exit %d" % i], input=b"x" * 200000, capture_output=True)
    print(r.returncode, len(r.stdout), r.stderr)
for t in ts: q.put(None)
for t in ts: t.join()
print(hashlib.md5(repr(sorted(out.items())).encode()).hexdigest())
sys.exit(7)'
END

have python-pool /usr/bin/python3
program python-pool <<'END'
exec /usr/bin/python3 -c '
import multiprocessing as m, os
def f(n):
    d = {str(i): [i] * (i % 50) for i in range(n)}
    return sum(map(len, d.values()))
def g(q, n):
    q.put(bytes(n))
c = m.get_context("fork")
with c.Pool(3) as p:
    print(p.map(f, range(0, 4000, 40)))
    print(p.apply(f, (10000,)))
q = c.Queue()
ps = [c.Process(target=g, args=(q, 100000 * i)) for i in range(1, 5)]
for p in ps: p.start()
print(sorted(len(q.get()) for _ in ps))
for p in ps: p.join()
print([p.exitcode for p in ps])
if os.fork() == 0:
    os._exit(9)
print(os.waitstatus_to_exitcode(os.wait()[1]))'
END

have perl perl
program perl <<'END'
exec perl -e '
my (%h, @l); open my $f, "<", "$ENV{in}/lines" or die; 
while (<$f>) { last if $. > 100000; my ($a, $n, $b) = split; push @{$h{$a}}, $n; $h{$b}[0] += $n; }
for (sort { @{$h{$b}} <=> @{$h{$a}} || $a cmp $b } keys %h) { push @l, "$_:" . scalar @{$h{$_}}; }
print join(",", @l[0 .. 20]), "\n"; my $s = join "", @l; $s =~ s/([a-c]+):(\d+)/<$2$1>/g; print length $s, "\n";
my $big = "y" x 5000000; $big .= $big; print length $big, "\n"; print unpack("%32C*", $big), "\n";'
END

have perl-fork perl
program perl-fork <<'END'
exec perl -e '
my %h = map { $_ => "value $_" x 20 } 1 .. 5000;
for my $k (1 .. 5) { my $p = open my $c, "-|"; if (!$p) { $h{$_} = $k for 1 .. 5000; print join("", @h{1 .. 10}), "\n"; exit $k } 
print <$c>; close $c; print $? >> 8, "\n"; } print length(join "", @h{1 .. 5000}), "\n"; print `echo backtick`; system "exit 3"; print $? >> 8, "\n";'
END

have git git
program git <<'END'
export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
git init -q -b main repo && cd repo || exit 1
git config gc.auto 0 && git config maintenance.auto false && git config gc.autoDetach false && git config pack.threads 2
head -2000 "$in/lines" >base && git add base
for i in {1..200}; do
	echo "line $i" >>base
	GIT_AUTHOR_DATE="$((1600000000 + i)) +0000" GIT_COMMITTER_DATE="$((1600000000 + i)) +0000" git commit -qam "commit $i" || exit 2
done
git gc -q || exit 3
git fsck --full --strict 2>&1 || exit 4
git log --format='%H %T %s' | sha256sum
git log -p --stat | sha256sum
git count-objects -v | grep -E '^(count|in-pack|packs):'
git clone -q . ../clone && git -C ../clone rev-parse HEAD
END

have git-fsck git
program git-fsck <<'END'
exec git -C "$in/repo" fsck --full
END

have gcc gcc
program gcc <<'END'
exec gcc -std=gnu11 -D_GNU_SOURCE -O0 -fPIC -pthread -w -I"$top/include" -isystem "$top/build/jemalloc/include" -c "$in"/src/*.c
END

have g++ g++
program g++ <<'END'
exec g++ -std=c++17 -O1 -w -S -o out.s "$top/tests/helpers/preload_entry_cxx.cc"
END

have sort sort
program sort <<'END'
exec sort --parallel=2 -k2,2n -k1 "$in/lines"
END

have sqlite3 sqlite3
program sqlite3 <<'END'
exec sqlite3 -batch data.db <"$in/sql"
END

have bash bash
program bash <<'END'
declare -A a
f() { local x=$1; (x=$((x + 1)); echo "$x" | { read -r y; echo $((y * 2)); }); }
for i in {1..40}; do a[$i]=$(f $i); done
for k in {1..40}; do echo -n "${a[$k]} "; done; echo
head -3000 "$in/lines" | while read -r w n v; do [ "$n" -gt 990000 ] && echo "$w" | tr a-z A-Z; done | sort | uniq -c
diff <(head -5 "$in/lines") <(tail -5 "$in/lines") | wc -l
(exit 5) || echo $?
coproc cat; echo through >&"${COPROC[1]}"; read -r l <&"${COPROC[0]}"; echo "$l"
{ sleep 0 & wait $!; echo "background $?"; }
x=$(printf '%0100000d' 7); echo ${#x}
set -o pipefail; false | true || echo pipefail
exit 4
END

have xz xz
program xz <<'END'
exec xz -T2 -1 --block-size=1MiB -c "$in/lines"
END
have unxz xz
program unxz <<'END'
exec xz -T2 -dc "$in/lines.xz"
END

have tar tar
program tar <<'END'
exec tar -C "$in" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -cf - src repo
END
have tar-gz gzip
program tar-gz <<'END'
tar -C "$in" --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -I 'gzip -n' -cf t.tgz src && tar -xzf t.tgz && diff -r src "$in/src" && tar -tzf t.tgz | wc -l
END

have awk awk
program awk <<'END'
exec awk '{ n[$1] += $2; s[$3] = s[$3] substr($1, 1, 2) } END { for (k in n) t += n[k] * length(k); for (k in s) u += length(s[k]); print t, u, length(n) }' "$in/lines"
END
have sed sed
program sed <<'END'
exec sed -nE 's/^([a-e]+) ([0-9]+) (.*)$/\3-\2-\1/p; 1000~5000{H;x;s/\n/,/g;p;x}' "$in/lines"
END

have make make
cat >"$work/in/Makefile" <<'END'
PARTS := $(shell seq 60)
all: $(PARTS:%=%.b)
	@cat $(sort $^) | sha256sum
%.a:
	@seq $* $$(( $* * 50 )) > $@
%.b: %.a
	@sort -r $< > $@
END
program make <<'END'
exec make -s -j2 -f "$in/Makefile"
END

have openssl openssl
program openssl <<'END'
exec openssl enc -aes-256-cbc -K 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef -iv 00112233445566778899aabbccddeeff -in "$in/lines"
END
have openssl-digest openssl
program openssl-digest <<'END'
exec openssl dgst -sha512 -hmac key "$in/lines" "$in/sql"
END

# ---- what the inputs need of the programs themselves, without the shim

mkdir "$work/in/src" && cp src/*.c src/*.h "$work/in/src" # a copy: nobody edits it meanwhile
export in=$work/in
xz -1 -c "$in/lines" >"$in/lines.xz"
(cd "$in" && sed 's/{1..200}/{1..20}/; /clone/d' "$work/programs/git" | bash >/dev/null)

# ---- running ------------------------------------------------------------------------------

# once DIRECTORY PREFIX-COMMAND... : runs $p there; its time in $took (ms)
once() {
	local from
	rm -rf "$1" && mkdir -p "$1/cwd"
	from=$(date +%s%N)
	status=0
	# the shell that waits says nothing of a killed child
	(cd "$1/cwd" && timeout -k 5 300 "${@:2}" bash "$work/programs/$p" >"$1/out" 2>"$1/err" </dev/null; exit $?) 2>/dev/null || status=$?
	echo $status >"$1/status"
	took=$((($(date +%s%N) - from) / 1000000))
}
# What the program made: git's own files differ in times, databases and objects must not.
made() { (cd "$1/cwd" && find . -type f \( -name '*.o' -o -name '*.s' -o -name '*.tgz' -o -name '*.b' \) -exec sha256sum {} + | sort -k2); }
verdict() { # of $work/with against $work/without
	local w=$work/with o=$work/without
	cmp -s $w/status $o/status || { echo "status $(cat $w/status), not $(cat $o/status)"; return; }
	cmp -s $w/out $o/out || { echo "other output: $(cmp $w/out $o/out 2>&1 | head -1)"; return; }
	cmp -s $w/err $o/err || { echo "other messages: $(diff $w/err $o/err | head -2 | tr '\n' ' ')"; return; }
	[ "$(made $w)" = "$(made $o)" ] || { echo "other files: $(diff <(made $w) <(made $o) | head -1)"; return; }
	compgen -G "/dev/shm/shmb-test-$$-*" >/dev/null && { echo "left: $(cd /dev/shm && echo shmb-test-$$-*)"; return; }
	echo same
}
with() { # with LABEL OPTION...
	local result
	once "$work/with" "$tool" run --log 0 --region "$prefix%p" "${@:2}" --
	result=$(verdict)
	rows=$((rows + 1))
	printf '%-16s %-6s %5d ms %5d ms %6.2f  %s\n' "$p" "$1" $plain $took "$(awk "BEGIN { print $took / ($plain + 1) }")" "$result"
	if [ "$result" != same ]; then
		failures=$((failures + 1))
		head -5 "$work/with/err" | cut -c1-200 | cat -v | sed 's/^/     | /'
		rm -f /dev/shm/shmb-test-$$-*
	fi
}

# Their children go on after fork, so that one memory for both is not what they were written for.
goes_on=' python-pool perl-fork git bash tar-gz make '

printf '%-16s %-6s %8s %8s %6s  %s\n' program rules without with times result
for p in ${ONLY:-"${ordered[@]}"}; do
	once "$work/without"
	plain=$took
	if [ ! -s "$work/without/out" ] && [ "$p" != gcc ] && [ "$p" != g++ ] || grep -q '^1[23]' "$work/without/status"; then
		echo "FAIL $p: does not work without the shim either: $(cat "$work/without/status") $(head -3 "$work/without/err")"
		failures=$((failures + 1))
		continue
	fi
	with all --place all
	with 64K --place size=64K..
	case $goes_on in
	*" $p "*) printf '%-16s %-6s %s\n' "$p" share 'not run: its children go on after fork' ;;
	*) with share --place all --fork share ;;
	esac
done
[ -z "$missing" ] || echo "note: not installed:$missing"
[ $failures = 0 ] || { echo "$failures of $rows runs differ"; exit 1; }
echo "$rows runs, all the same as without the shim"
