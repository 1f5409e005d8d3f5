#!/bin/bash
# Long work shows on a terminal what it is at, and leaves nothing of that behind;
# elsewhere it is silent. The work is made long by calls that take their time.
. "$(dirname "$0")/helpers/script.sh"
needs_terminal
. tests/helpers/tool.sh
case $SAN in
address | thread) echo "this sanitizer's runtime must come first: the slow calls cannot be preloaded"; exit 77 ;;
esac

cat >"$work/slow.c" <<'C'
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static void nap(void)
{
	const char *ms = getenv("SLOW_MS");
	struct timespec t = {.tv_nsec = (ms ? atoi(ms) : 0) * 1000000L};
	nanosleep(&t, NULL);
}
ssize_t pread(int fd, void *buf, size_t n, off_t off)
{
	nap();
	return ((ssize_t (*)(int, void *, size_t, off_t))dlsym(RTLD_NEXT, "pread"))(fd, buf, n, off);
}
ssize_t pread64(int fd, void *buf, size_t n, off_t off) { return pread(fd, buf, n, off); }
C
"$CC" -O1 -Wall -shared -fPIC "$work/slow.c" -o "$work/slow.so"

arena=${prefix}arena
"$helper" arena $arena leak >/dev/null
for i in 1 2 3 4; do "$helper" arena ${prefix}d$i leak >/dev/null; done

cat >"$work/terminal.py" <<'END'
# terminal.py VERB...: runs the tool, slowed, with all output on one terminal; what it
# wrote goes to raw, what stands on the screen at the end to out
import os, pty, pyte, subprocess, sys
tool, work, args = sys.argv[1], sys.argv[2], sys.argv[3:]
screen = pyte.Screen(100, 24)
stream = pyte.ByteStream(screen)
pid, fd = pty.fork()
if pid == 0:
    os.environ["LD_PRELOAD"] = work + "/slow.so"
    os.execv(tool, [tool] + args)
raw = b""
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    raw += data
    stream.feed(data)
open(work + "/raw", "wb").write(raw)
open(work + "/out", "w").write("".join(l.rstrip() + "\n" for l in screen.display if l.strip()))
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
on_terminal() { # on_terminal MS ARG...
	status=0
	SLOW_MS=$1 timeout 120 /usr/bin/python3 "$work/terminal.py" "$tool" "$work" "${@:2}" 2>"$work/err" || status=$?
}
showed() { LC_ALL=C grep -qaE "$(printf '\r\033')\[K[-|/\\\\] $1, [0-9]+ s" "$work/raw"; }

on_terminal 60 check $arena
verify "check: says what it is at" eval '[ $status = 0 ] && showed "checking $arena"'
verify "  and leaves only what it found" eval '[ "$(wc -l <"$work/out")" -le 3 ] && head -1 "$work/out" | grep -q "^clean: " && ! grep -q checking "$work/out"'
on_terminal 0 check $arena
verify "check that is quick: nothing but what it found" eval '[ $status = 0 ] && ! LC_ALL=C grep -qa "$(printf "\033")" "$work/raw"'
on_terminal 150 rm ${prefix}d1 ${prefix}none ${prefix}d2 ${prefix}d3 ${prefix}d4
verify "rm of many: how many of them" eval '[ $status = 1 ] && showed "removing [1-5] of 5, ${prefix}[dn][0-9a-z]*"'
verify "  and leaves only its complaint" [ "$(cat "$work/out")" = "shmbind rm: ${prefix}none: No such file or directory" ]
on_terminal 60 save $arena "$work/saved"
verify "save: says what it is at" eval '[ $status = 0 ] && showed "saving $arena" && grep -q "^$arena: saved" "$work/out"'
on_terminal 60 load "$work/saved" ${prefix}loaded
verify "load: says what it is at, and leaves nothing" eval '[ $status = 0 ] && showed "loading $work/saved" && [ ! -s "$work/out" ]'
odd="${prefix}odd"$'\e[31m'
"$helper" arena "$odd" leak >/dev/null
on_terminal 60 check "$odd"
verify "a name with an escape: none of it in that line" showed "checking ${prefix}odd\?\[31m"
rm -f "/dev/shm$odd"

status=0
SLOW_MS=60 LD_PRELOAD=$work/slow.so "$tool" check $arena >"$work/out" 2>"$work/err" || status=$?
verify "where standard error is no terminal: nothing, however long it takes" eval '[ $status = 0 ] && [ ! -s "$work/err" ] && [ "$(wc -l <"$work/out")" = 1 ]'

gc_rows() {
	for i in 1 2 3 4 5 6; do killed arena ${prefix}g$i kill; done
	on_terminal 25 gc
	verify "gc: how many it looked at" eval '[ $status = 0 ] && showed "looking at [1-6], ${prefix}g[1-6]"'
	verify "  and leaves only what it did" eval '[ "$(grep -c ": removed, " "$work/out")" = 6 ] && [ "$(wc -l <"$work/out")" = 7 ] && tail -1 "$work/out" | grep -q "^6 regions, "'
}
if unshare -m true 2>"$work/why"; then
	export -f gc_rows wrong verify on_terminal showed killed
	export tool helper prefix work
	rows=$((rows + 1))
	unshare -m bash -eu -c 'mount -t tmpfs -o size=256m tmpfs /dev/shm; failures=0 rows=0; gc_rows; exit $failures' || failures=$((failures + 1))
else
	echo "note: gc not verified, no mount namespace is to be had here: $(cat "$work/why")"
fi
rows_hold
