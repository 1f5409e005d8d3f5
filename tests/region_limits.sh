#!/bin/bash
# Regions where there is little of something, and between processes that see
# different pids, or a different root: what is refused is refused with a clear
# error, leaves nothing, and does not end a process; what was had goes on.
#
# What is tried elsewhere: a full file system from below (arena_full.sh), what the shim does under limits
# (preload_limits.sh), forked children without a slot (test_fork.c), hostile files (region_hostile.sh).
if [ "${1:-}" != alone ] && unshare -m true 2>/dev/null; then # gc is to find nobody else's regions
	exec unshare -m --propagation private bash -c 'mount -t tmpfs -o size=512m,mode=1777 tmpfs /dev/shm && exec bash "$0" alone' "$0"
fi
alone=${1:-}
. "$(dirname "$0")/helpers/script.sh"
# the leak detector wants descriptors and /proc: what stays is looked at here
export ASAN_OPTIONS=exitcode=99:detect_leaks=0 UBSAN_OPTIONS=exitcode=99 TSAN_OPTIONS="${TSAN_OPTIONS:-} exitcode=99"
helper=$PWD/$BUILD/tests/helpers/region_limits
name=${prefix}it file=/dev/shm${prefix}it

missing() { echo "note: $1: not verified, $2"; } # missing WHAT WHY
# run SNIPPET ARG...: the helper where the snippet's `exec "$@"` is; $status, what it says in $work/out
run() {
	status=0
	(bash -c "$1" run "$helper" "${@:2}"; exit $?) 2>"$work/err" </dev/null | cat >"$work/out" # no file of ours: it may have a limit
	status=${PIPESTATUS[0]}
}
# works TEXT SNIPPET ARG...: it ends with 0 and says TEXT; is_refused the same with 1
is() {
	run "${@:3}"
	[ $status = "$1" ] && grep -qF -e "$2" "$work/out" && nothing_left && return
	{ echo "status $status:" && cat "$work/out" && left; } >>"$work/err"
	return 1
}
works() { is 0 "$@"; }
is_refused() { is 1 "$@"; }
as_is='exec "$@"'

# ---- many ----------------------------------------------------------------------------------

verify "100 regions at once, and 64 arenas: one more is refused" works '164 open at once, one arena more: Too many open files' "$as_is" many 64 100
case $SAN in
thread) missing "256 processes" "ThreadSanitizer's processes are too large and slow for that" ;;
*)
	verify "256 processes, the 257th" works 'one more: every slot of the region is taken' "$as_is" crowd "$name"
	verify "  and after one was killed there is room for one" grep -qx 'after a death: one' "$work/out"
	;;
esac

# ---- limits ----------------------------------------------------------------------------------

verify "no descriptor to be had" is_refused 'Too many open files' "$as_is" few "$name" 3
verify "one: the same" is_refused 'Too many open files' "$as_is" few "$name" 4
verify "two will do" works some "$as_is" few "$name" 5
verify "none later" works 'it goes on, a child does not, closing: ok' "$as_is" later "$name" nofile
verify "files of 10 KiB at most: an error, no SIGXFSZ" is_refused 'File too large' "ulimit -f 10; $as_is" fill "$name" 0x4000000
verify "the same, raw" is_refused 'File too large' "ulimit -f 10; $as_is" raw "$name" 100000
verify "of no size, later: it goes on, a child attaches" works 'it goes on, a child does, too, closing: ok' "$as_is" later "$name" fsize
case $SAN in
address | thread) missing "address space" "the sanitizer takes more than any limit" ;;
*)
	verify "400 MB of address space, an arena of 64 MiB" works some "ulimit -v 400000; $as_is" fill "$name" 0x4000000
	verify "an arena of 64 GiB" is_refused 'Cannot allocate memory' "ulimit -v 400000; $as_is" fill "$name" 0x1000000000
	verify "a raw region of 500 MB" is_refused 'Cannot allocate memory' "ulimit -v 400000; $as_is" raw "$name" 500000000
	verify "none to speak of: an error" is_refused 'Cannot allocate memory' "ulimit -v 30000; $as_is" fill "$name" 0x4000000
	;;
esac
[ "$(id -u)" != 0 ] || as_nobody='setpriv --reuid=65534 --clear-groups --inh-caps=-all' # who may lock what it likes
verify "no locked memory" works some "ulimit -l 0; exec ${as_nobody:-} \"\$@\"" fill "$name" 0x4000000

# ---- memory ----------------------------------------------------------------------------------

# Where control groups with the memory controller are made, and which file limits them: v2, or v1
if grep -qw memory /sys/fs/cgroup/cgroup.subtree_control 2>/dev/null; then
	groups=/sys/fs/cgroup limit=memory.max
elif [ -w /sys/fs/cgroup/memory/memory.limit_in_bytes ]; then
	groups=/sys/fs/cgroup/memory limit=memory.limit_in_bytes
else
	groups=
fi
# in_group BYTES COMMAND...: in a control group of its own that has that much memory
in_group() {
	local group=$groups/shmb-test-$$ status=0
	mkdir "$group" && echo "$1" >"$group/$limit" || return 99
	[ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max"
	bash -c 'echo $$ >"$0/cgroup.procs" && exec "$@"' "$group" "${@:2}" || status=$?
	rmdir "$group"
	return $status
}
if [ "$groups" ] && [ "$(id -u)" = 0 ]; then
	status=0
	in_group $((48 << 20)) "$helper" fill "$name" $((256 << 20)) >"$work/out" 2>"$work/err" || status=$?
	verify "a control group of 48 MiB: no memory, or the kernel's end of it" [ $status = 0 -o $status = 1 -o $status = 137 ]
	[ ! "$alone" ] || "$tool" gc >/dev/null
	verify "  and then it is gone" nothing_left
	rm -f "$file"
else
	missing "a memory control group" "none is to be had here"
fi
if [ "$alone" ]; then
	tiny="exec unshare -m --propagation private bash -c 'mount -t tmpfs -o size=1m tmpfs /dev/shm || exit 99; \"\$@\"; s=\$?; df --output=used /dev/shm | tail -1; exit \$s' tiny \"\$@\""
	verify "a file system of 1 MiB, an arena: blocks, then an error" works 'some, then Cannot allocate memory' "$tiny" fill "$name" 0x4000000
	verify "  and it is empty" grep -qx ' *0' "$work/out"
	verify "the same, with more capacity than memory" works 'some, then Cannot allocate memory' "$tiny" fill "$name" 0x1000000000
	verify "a raw region of 500 KiB" works ok "$tiny" raw "$name" 500000
	verify "of 2 MiB: an error" is_refused 'No space left on device' "$tiny" raw "$name" 2000000
	verify "  and it is empty" grep -qx ' *0' "$work/out"
else
	missing "a file system of 1 MiB" "no mount namespace is to be had here"
fi

# ---- other roots --------------------------------------------------------------------------------

# held COMMAND...: has $name open, by an owner that the command runs; let_go: which closes it
held() {
	coproc OWNER { exec "$@" "$helper" hold "$name" 2>>"$work/owner"; }
	owner=$OWNER_PID
	exec {to}>&"${OWNER[1]}" {from}<&"${OWNER[0]}" # the shell's own go with the process
	eval "exec ${OWNER[1]}>&- ${OWNER[0]}<&-"
	read -r -t 30 said <&"$from" && [ "$said" = ready ]
}
let_go() {
	exec {to}>&- {from}<&-
	wait "$owner" && nothing_left
}
attaches() { # attaches SNIPPET: and takes all there is
	run "$1" fill "$name" 0
	[ $status = 0 ] && grep -q '^some' "$work/out" && [ -e "$file" ]
}
if [ "$(id -u)" = 0 ] && [ "$alone" ] && mount --rbind / /mnt 2>/dev/null; then # not to be removed by anybody: /mnt
	verify "an owner, and in a chroot" held env
	verify "  who attaches" attaches 'exec chroot /mnt "$@"'
	verify "  goes, and the owner removes it" let_go
	verify "an owner in a chroot" held chroot /mnt
	verify "  and who attaches outside" attaches "$as_is"
	verify "  goes, and the owner removes it" let_go
	mkdir "$work/empty"
	verify "an owner that goes to a chroot without /dev/shm: it works on, and removes the name" \
		works 'it goes on, a child does not, closing: ok' "$as_is" later "$name" "$work/empty"
else
	missing "chroot" "this needs root and a mount namespace"
fi

# ---- other pids -----------------------------------------------------------------------------------

if unshare --pid --fork true 2>/dev/null; then
	spaced='exec unshare --pid --fork --kill-child "$@"'
	verify "two processes 1: blocks of the one are freed by the other" works 'both are process 1, and share blocks' "$as_is" spaces "$name"
	verify "  one dies: the other recovers what it had" grep -q '^one is killed: the other' "$work/out"
	verify "  so does that: a third claims the region, and removes it" grep -q '^so is that: a third claims' "$work/out"
	verify "an owner in a pid namespace" held unshare --pid --fork --kill-child
	verify "  and who attaches in another" attaches "$spaced"
	if [ "$alone" ]; then
		verify "  gc in a third spares it" eval 'unshare --pid --fork "$tool" gc >"$work/out" 2>"$work/err" && [ -e "$file" ]'
		verify "  and so does one outside" eval '"$tool" gc >"$work/out" 2>"$work/err" && [ -e "$file" ]'
	fi
	verify "  ls there says that it lives" eval 'unshare --pid --fork "$tool" ls --json | jq -e --arg n "$name" ".regions[] | select(.name == \$n) | .owner | startswith(\"pid \")" >"$work/out"'
	verify "  check is clean" eval 'unshare --pid --fork "$tool" check "$name" >"$work/out" 2>"$work/err"'
	verify "  it closes" let_go
else
	missing "pid namespaces" "none is to be had here"
fi
verify "nothing is left" nothing_left
rows_hold
