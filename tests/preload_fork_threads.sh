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
