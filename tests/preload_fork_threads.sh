#!/bin/bash
# A fork while threads come and end: neither waits for the other for ever, in
# whichever way the child has its parent's blocks; and what libc has of threads
# in both is of one moment, so that a child with a copy can have threads, too.
# What another thread does just then is not in the way of the fork, nor it in his.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
for how in copy share deny "copy threads" "pages threads"; do
	timeout -k 5 60 "$tool" run --log 0 --region "$prefix%p" --place all --fork ${how% threads} -- \
		"$BUILD/tests/helpers/preload_thread_exit" ${how#* } || { echo "FAIL $how: status $?"; exit 1; }
	echo "ok   $how"
done
for how in copy pages; do
	for case in changed cancelled flushing locked values; do
		timeout -k 5 60 "$tool" run --log 0 --region "$prefix%p" --place all --fork $how -- \
			"$BUILD/tests/helpers/preload_fork_beside" $case "$prefix" || { echo "FAIL $how $case: status $?"; exit 1; }
		echo "ok   $how $case"
	done
done
# Where the program's malloc is another's, who asks ours in turn, libc's files are still not placed; and what it asks
# libc for at its start are libc's own functions.
$CC -x c -O1 -fPIC -shared -Wall -Werror tests/helpers/preload_around.inc -o "$work/around.so"
for order in "$work/around.so:$shim" "$shim:$work/around.so"; do
	SHMBIND_LOG=0 SHMBIND_PLACE=all SHMBIND_REGION="$prefix%p" LD_PRELOAD=$order timeout -k 5 60 \
		"$BUILD/tests/helpers/preload_fork_beside" locked "$prefix" >"$work/around" 2>&1 || { cat "$work/around"; echo "FAIL around: status $?"; exit 1; }
	! grep -q called "$work/around" || { cat "$work/around"; echo "FAIL around: the shim calls somebody's popen"; exit 1; }
	echo "ok   locked, with ${order//$work\//}"
done
