#!/bin/bash
# SHMBIND_HARDEN: programs do what they do, mistakes are found in unmodified
# ones, and the rules count what they should.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
python=/usr/bin/python3

# hard ARG...: shmbind run --harden of it, everything placed; $status, $work/out, $work/err
hard() {
	status=0
	(cd "$work" && "$tool" run --harden --place all --log 0 --region "$prefix%p" "$@" >"$work/out" 2>"$work/err"; exit $?) \
		2>/dev/null || status=$?
}

# ---- programs ------------------------------------------------------------------------

seq 100000 | awk '{ print ($1 * 7919) % 100003, "line", $1 }' >"$work/lines"
same() { # same COMMAND: prints the same with and without
	rows=$((rows + 1))
	(cd "$work" && bash -c "$1" >"$work/plain" 2>&1) || true
	hard bash -c "$1"
	if cmp -s "$work/plain" "$work/out"; then
		echo "ok   the same, hardened: $1"
	else
		wrong "hardened it differs: $1" "$(head -c 300 "$work/out" "$work/err")"
	fi
}
same 'sort lines | sha256sum'
same 'xz -1c lines | xz -dc | sha256sum'
same "perl -ne 'push @{\$h{\$1 % 100}}, \$_ if /(\d+)/; END { print scalar @{\$h{7}}, \"\n\" }' lines"
same "$python -c 'import json, re; d = [l.split() for l in open(\"lines\")]; print(len(json.dumps(d)), sum(len(re.sub(\"1\", \"xx\", a)) for a, *_ in d))'"
same "$python -c 'import multiprocessing as m; print(sum(m.Pool(3).map(len, [list(range(n)) for n in range(300)])))'"
same 'sqlite3 :memory: "create table t(a,b,c);" ".separator \" \"" ".import lines t" "select sum(a), count(distinct b), max(c) from t;"'
same "awk '{ n[\$1 % 1000] = n[\$1 % 1000] \$3 } END { for (i in n) s += length(n[i]); print s }' lines"
verify "nothing is left" nothing_left

# ---- the region ------------------------------------------------------------------------

cat >"$work/calls.py" <<'P'
"""malloc and free of libc, as the program has them; steps are the arguments."""
import ctypes, os, signal, subprocess, sys

c = ctypes.CDLL(None)
for name in "malloc", "calloc", "realloc":
    getattr(c, name).restype = ctypes.c_void_p
c.malloc.argtypes = [ctypes.c_size_t]
c.realloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
c.malloc_usable_size.argtypes = c.free.argtypes = [ctypes.c_void_p]
c.malloc_usable_size.restype = ctypes.c_size_t

def beyond(size):
    p = c.malloc(size)
    ctypes.memset(p, 1, size + 1)
    print(hex(p), flush=True)
    c.free(p)

def after(size):
    p = c.malloc(size)
    c.free(p)
    ctypes.memset(p, 1, 1)
    print(hex(p), flush=True)
    for _ in range(20000):
        c.free(c.malloc(size))

def twice(size):
    p = c.malloc(size)
    c.free(p)
    for _ in range(1000):
        c.free(c.malloc(size))
    print(hex(p), flush=True)
    c.free(p)

def resized(size):
    p = c.malloc(size // 2)
    p = c.realloc(p, size)
    ctypes.memset(p, 1, size + 1)
    print(hex(p), flush=True)
    c.realloc(p, size * 2)

def usable(size):
    print(c.malloc_usable_size(c.malloc(size)))

def keep(size):
    kept = [c.malloc(size) for _ in range(50)]
    print(len(kept))

def crash(size):
    ctypes.memset(c.malloc(size), 1, size + 1)
    os.kill(os.getpid(), signal.SIGKILL)

for step in sys.argv[1:]:
    what, size = step.split("/")
    globals()[what](int(size))
P
reports() { # reports STEP FUNCTION WHY: the step ends the program, which says that of the pointer it named
	rows=$((rows + 1))
	hard $python calls.py "$1"
	local said
	said="shmbind: $2($(cat "$work/out")): $3 in $prefix"
	if [ $status = 134 ] && [ "$(wc -l <"$work/err")" = 1 ] && grep -qF "$said" "$work/err"; then
		echo "ok   $1: $(sed 's/ in .*//' "$work/err")"
	else
		wrong "$1 should say \"$said...\"" "status $status: $(cat "$work/err")"
	fi
}
reports beyond/5 shmb_free 'a block of 5 bytes, written beyond its end'
reports beyond/1000 shmb_free 'a block of 1000 bytes, written beyond its end'
reports beyond/300000 shmb_free 'a block of 300000 bytes, written beyond its end'
reports resized/5000 shmb_realloc 'a block of 5000 bytes, written beyond its end'
reports resized/200000 shmb_realloc 'a block of 200000 bytes, written beyond its end'
reports after/1000 shmb_free 'a block of 1016 bytes, written to while it was free'
reports twice/1000 shmb_free 'double free'
hard $python calls.py usable/0 usable/1 usable/1000 usable/100000
verify "what malloc_usable_size says is what was asked for" [ "$(tr '\n' ' ' <"$work/out")" = '0 1 1000 100000 ' ]
hard $python calls.py twice/1000
verify "the next run finds nothing left of one that aborted" nothing_left

# The region that a killed program has left; 3 bytes of a class are another's rule's.
stay() { # stay RULES STEP...
	(cd "$work" && env SHMBIND_HARDEN="${harden-1}" SHMBIND_REGION="${prefix}stay" SHMBIND_SIZE=256M SHMBIND_KEEP=1 SHMBIND_LOG=1 \
		SHMBIND_PLACE="$1" LD_PRELOAD="$shim" $python calls.py "${@:2}" >"$work/out" 2>"$work/err"; exit $?) 2>/dev/null || true
}
gone() { rm -f "/dev/shm${prefix}stay"; }
stay size=3333 crash/3333
verify "check finds what a killed program has overrun" \
	eval '! "$tool" check "${prefix}stay" >"$work/checked" 2>&1 && grep -qE "^block at 0x[0-9a-f]+: 3584 bytes, written beyond its end$" "$work/checked"'
"$tool" save "${prefix}stay" "$work/saved" >/dev/null
verify "and in a file of it" eval '! "$tool" check "$work/saved" >"$work/checked" 2>&1 && grep -q "written beyond its end" "$work/checked"'
verify "stats say that it is hardened" eval '"$tool" stats "${prefix}stay" | head -1 | grep -q ", hardened$" && [ "$("$tool" stats --json "${prefix}stay" | jq .hardened)" = true ]'
gone
lives() { "$tool" rules --json "${prefix}stay" | jq -c '[.rules[] | [.live, .live_blocks]]'; }
stay 'small: size=85..88;large: size=89..96' keep/88 keep/96
verify "of rules that part where classes of blocks do each has its own" [ "$(lives)" = '[[4800,50],[5600,50]]' ]
gone
stay 'small: size=98..100;large: size=101..104' keep/100 keep/104
verify "of rules that part a class, too" [ "$(lives)" = '[[5600,50],[5600,50]]' ]
gone
harden=0 stay size=3333 keep/3333
verify "SHMBIND_HARDEN=0: it is not" [ "$("$tool" stats --json "${prefix}stay" | jq .hardened)" = false ]
gone
harden=yes stay size=3333 keep/3333
verify "SHMBIND_HARDEN=yes: a line, and no region" \
	eval '[ "$(cat "$work/err")" = "shmbind: SHMBIND_HARDEN=yes: neither 0 nor 1; running without a region" ] && [ "$(cat "$work/out")" = 50 ] && nothing_left'

rows_hold
