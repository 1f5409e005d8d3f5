#!/bin/bash
# fork under the shim. copy: the child has a snapshot and a region of its own;
# share: one region for both; deny: none for the child. And what is no fork: posix_spawn, vfork, system,
# popen, exec, daemon.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helpers=$PWD/$BUILD/tests/helpers

# start CASE NAME KEY=VALUE...: the helper that has the case, its pid in $pid; its input is fd 8, its output fd 9,
# which ends when the last process that has it has ended
start() {
	rm -f "$work/in" "$work/out" && mkfifo "$work/in" "$work/out"
	local helper=preload_fork
	case $1 in
	share | deny* | spawn | exec | daemon) helper=preload_fork_ways ;;
	altstack | coroutine | module) helper=preload_fork_stack ;;
	gigabyte | cut | pages | kernel | signals | mutex | stacks | storm | handlers) helper=preload_fork_moment ;;
	esac
	env SHMBIND_PLACE=all SHMBIND_LOG=0 LD_PRELOAD="$shim" "${@:3}" "$helpers/$helper" "$1" "$2" <"$work/in" >"$work/out" &
	pid=$!
	exec 8>"$work/in" 9<"$work/out"
	: >"$work/lines"
}
# Prints what the helper says up to "ready", or to its end: then it fails.
is_ready() {
	local line
	while read -r -u 9 -t 120 line; do
		[ "$line" != ready ] || return 0
		echo "$line" | tee -a "$work/lines"
	done
	return 1
}
finish() { # finish TITLE
	exec 8>&-
	! is_ready || is_ready || true
	exec 9<&-
	status=0
	wait $pid || status=$?
	verify "$1: exit status 0, no line says FAIL" [ "$status $(grep -c '^FAIL' "$work/lines")" = "0 0" ]
	verify "$1: nothing is left in /dev/shm" nothing_left
}
clean() { # clean NAME: the helper may be on its way from saying so to waiting still
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		"$tool" check "$1" >"$work/check" 2>&1 || break
		grep -q '^clean: .*nobody was writing' "$work/check" && return 0
		sleep 0.1
	done
	sed 's/^/     /' "$work/check"
	return 1
}

by_pid=SHMBIND_REGION=${prefix}%p
for case in isolation ends generations spawn exec; do
	echo "-- copy: $case"
	start $case $prefix "$by_pid"
	finish $case
done
echo 'int fork(void); int module_fork(void) { return fork(); }' | $CC -x c -O0 -fPIC -shared - -o "$work/fork.so"
for how in copy pages; do
	for case in altstack coroutine module; do
		echo "-- $how: $case"
		start $case $prefix "$by_pid" SHMBIND_FORK=$how FORK_MODULE="$work/fork.so"
		finish "$how, $case"
	done
done
echo "-- copy: a library behind the shim that passes fork on"
echo '#include <dlfcn.h>
int fork(void) { static int (*next)(void); if (!next) next = (int (*)(void))dlsym((void *)-1l, "fork"); int pid = next(); return pid; }' |
	$CC -x c -O1 -fPIC -shared - -o "$work/behind.so"
start coroutine $prefix "$by_pid" LD_PRELOAD="$shim:$work/behind.so"
finish "fork passed on"
for case in inherited threads; do
	echo "-- copy: $case"
	start $case $prefix "$by_pid"
	verify "$case: got to its end" is_ready
	verify "$case: shmbind check of the parent's region: clean" clean $prefix$pid
	finish $case
done
for n in 1 2 3 4 5; do # 64 MiB and more each time, in parts of different ages
	start isolation $prefix "$by_pid" SHMBIND_SIZE=256M
	finish "isolation in 256 MiB, run $n" >"$work/log"
	grep -v '^ok' "$work/log" || true
	verify "isolation in 256 MiB, run $n: all good" [ "$(grep -c '^ok' "$work/log")" = 6 ]
done

for case in gigabyte cut kernel signals mutex stacks storm; do
	echo "-- copy: $case"
	start $case $prefix "$by_pid"
	finish $case
done
echo "-- pages"
start pages $prefix "$by_pid" SHMBIND_FORK=pages
finish pages

echo "-- copy: fork handlers of a library that was set up before the shim"
$CC -x c -O1 -fPIC -shared -Wall -Werror tests/helpers/preload_handlers.inc -o "$work/libhandlers.so"
start handlers $prefix "$by_pid" LD_PRELOAD="$shim:$work/libhandlers.so"
finish handlers

echo "-- copy: a fixed name"
start fixed ${prefix}fixed SHMBIND_REGION=${prefix}fixed
finish fixed
start successor ${prefix}fixed SHMBIND_REGION=${prefix}fixed
finish successor

echo "-- share"
start share $prefix "$by_pid" SHMBIND_FORK=share
verify "share: got to its end" is_ready
verify "share: shmbind check of the region afterwards: clean" clean $prefix$pid
finish share
for case in spawn exec; do
	echo "-- share: $case"
	start $case $prefix "$by_pid" SHMBIND_FORK=share
	finish "share, $case"
done

for case in deny deny-threads; do
	echo "-- $case"
	start $case $prefix "$by_pid" SHMBIND_FORK=deny
	verify "$case: got to its end" is_ready
	verify "$case: shmbind check of the region afterwards: clean" clean $prefix$pid
	finish $case
done
echo "-- deny, where nothing of that size is placed"
start deny-clone $prefix "$by_pid" SHMBIND_FORK=deny SHMBIND_PLACE=size=1G..
finish deny-clone
for case in ends spawn exec; do
	echo "-- deny: $case"
	start $case $prefix "$by_pid" SHMBIND_FORK=deny
	finish "deny, $case"
done

echo "-- daemon(3), whose parent ends inside libc"
start daemon $prefix "$by_pid"
finish daemon

[ $failures = 0 ] || { echo "$failures rows are wrong"; exit 1; }
echo "fork keeps its promises"
