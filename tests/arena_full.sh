#!/bin/bash
# When memory runs out: ENOMEM and never SIGBUS; all that was had is usable,
# and all comes back. The full file system is a tmpfs of 4 MiB over /dev/shm in
# a mount namespace of its own.
set -eu
BUILD=${BUILD:-build}
cd "$(dirname "$0")/.."
helper=$PWD/$BUILD/tests/helpers/arena_full

"$helper" capacity

if ! unshare -m true 2>/dev/null; then
	echo "skip: no mount namespace may be made here (unshare -m): a full /dev/shm was not tried"
	exit 77
fi
for threads in 1 3 8; do
	unshare -m bash -c '
		mount -t tmpfs -o size=4m shmb-test /dev/shm
		"$0" fs "$1" 5
		[ -z "$(ls -A /dev/shm)" ] || { ls -A /dev/shm; exit 1; }
		left=$(df --output=used -k /dev/shm | tail -1)
		[ "$left" -eq 0 ] || { echo "$left KiB left in /dev/shm"; exit 1; }
	' "$helper" "$threads"
	echo "$threads threads on a full file system: no SIGBUS, nothing left behind"
done
