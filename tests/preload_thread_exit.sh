#!/bin/bash
# A fork while threads end: neither waits for the other for ever, in whichever
# way the child has its parent's blocks.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build} SAN=${SAN:-}
case $SAN in
address | thread)
	echo "the sanitizer's runtime must come first and brings its own malloc: no shim beside it"
	exit 77
	;;
esac
trap 'rm -f /dev/shm/shmb-test-$$-*' EXIT
for how in copy share deny; do
	timeout -k 5 60 "$BUILD/shmbind" run --log 0 --region "/shmb-test-$$-%p" --place all --fork $how -- \
		"$BUILD/tests/helpers/preload_thread_exit" || { echo "FAIL $how: status $?"; exit 1; }
	echo "ok   $how"
done
