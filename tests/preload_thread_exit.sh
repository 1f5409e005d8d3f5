#!/bin/bash
# A fork while threads end: neither waits for the other for ever, in whichever
# way the child has its parent's blocks.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
for how in copy share deny; do
	timeout -k 5 60 "$tool" run --log 0 --region "$prefix%p" --place all --fork $how -- \
		"$BUILD/tests/helpers/preload_thread_exit" || { echo "FAIL $how: status $?"; exit 1; }
	echo "ok   $how"
done
