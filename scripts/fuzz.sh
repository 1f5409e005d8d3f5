#!/bin/bash
# Runs the fuzzers of a FUZZ=1 build, one after the other, each from its seeds.
#
#   BUILD=build-fuzz FUZZ_TIME=600 fuzz.sh NAME...
#
# What an input ends with a crash, a hang or a lie is left in BUILD/found/ and
# makes the exit status 1. New inputs go to BUILD/corpus/NAME, not to the seeds.
set -u
cd "$(dirname "$0")/.." || exit 1
time=${FUZZ_TIME:-600}
found=$BUILD/found
mkdir -p "$found"
for name in "$@"; do
	corpus=$BUILD/corpus/$name
	log=$BUILD/fuzz-$name.log
	mkdir -p "$corpus"
	echo "$name: $time s, log in $log"
	"$BUILD/tests/fuzz/$name" -fork=1 -ignore_crashes=1 -ignore_timeouts=1 -timeout=40 -max_len=512 \
		-detect_leaks=0 -dict=tests/fuzz/words.dict -max_total_time="$time" -artifact_prefix="$found/$name-" \
		"$corpus" "tests/fuzz/seeds/$name" >"$log" 2>&1 </dev/null
	grep '^#[0-9]*: cov:' "$log" | tail -1
done
n=$(find "$found" -type f | wc -l)
echo "$n inputs found, in $found"
[ "$n" = 0 ]
