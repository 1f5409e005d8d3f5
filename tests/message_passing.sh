#!/bin/bash
# examples/message_passing: its exact output, and its name in /dev/shm before,
# while and after it runs.
#
# To look while it runs, its standard output is a pipe that is full: it stops
# at its first line, which it writes after creating the region, until we read.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
name=shmb-test-$$-message
work=$(mktemp -d)
trap 'rm -rf "$work"; rm -f "/dev/shm/$name"' EXIT

cat >"$work/want" <<'TEXT'
first: owns the box, sets the value to 1
second: does not own the box, the value is 1, sets it to 2
second: drops the box
first: the value is 2, drops the box
destructor: the value was 2
TEXT

"$BUILD/examples/message_passing" $name >"$work/got"
diff "$work/want" "$work/got"
echo "the output is what it should be"
[ ! -e /dev/shm/$name ]
echo "after: no name"

pipe_bytes=65536
mkfifo "$work/pipe"
exec 7<>"$work/pipe"
head -c $pipe_bytes /dev/zero >&7
[ ! -e /dev/shm/$name ]
echo "before: no name"
"$BUILD/examples/message_passing" $name >&7 &
for _ in $(seq 200); do
	[ -e /dev/shm/$name ] && break
	sleep 0.05
done
[ "$(stat -c '%a %s' /dev/shm/$name)" = "1600 4" ]
echo "while it runs: the name, of 4 bytes, for its user alone, marked mortal"
head -c $pipe_bytes <&7 >/dev/null
wait $!
echo end >&7
sed /^end/q <&7 | diff <(cat "$work/want"; echo end) -
echo "the same output, read late"
[ ! -e /dev/shm/$name ]
echo "after: no name"

: >"/dev/shm/$name"
if "$BUILD/examples/message_passing" $name >"$work/got" 2>"$work/errors"; then
	exit 1
fi
[ "$(cat "$work/errors")" = "$name: the region is smaller than asked for" ]
echo "an empty file in the way: refused in words, exit status not 0"
rm "/dev/shm/$name"
