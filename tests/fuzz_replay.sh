#!/bin/bash
# What the fuzzers found once, and inputs that lead far, again: no input may
# crash, hang, or make anything say what is not so. `make fuzz` looks for more.
set -u
cd "$(dirname "$0")/.." || exit 1
for name in look attach words; do
	timeout 120 "$BUILD/tests/fuzz/$name" tests/fuzz/seeds/"$name"/* >/dev/null 2>"$BUILD/fuzz-replay.log"
	code=$?
	if [ $code = 77 ]; then
		cat "$BUILD/fuzz-replay.log"
		exit 77
	fi
	if [ $code != 0 ]; then
		echo "$name: exit status $code after the input"
		tail -20 "$BUILD/fuzz-replay.log"
		exit 1
	fi
	echo "note: $name: $(find tests/fuzz/seeds/"$name" -type f | wc -l) inputs"
done
