#!/bin/bash
# Every call of the library fails in turn, in every operation. What came of it
# is written to $BUILD/faults.md, in the form of docs/faults.md: a difference
# fails.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
page=docs/faults.md out=$BUILD/faults.md
wrong=0
"$BUILD/tests/fault_sweep" --table --jobs "$(nproc)" >"$out.table" || wrong=1
sed '/^<!--/q' "$page" | cat - "$out.table" >"$out"
rm "$out.table"
if ! diff -u "$page" "$out"; then
	echo "$out is what came of it, which $page does not say"
	exit 1
fi
echo "$page says what came of it"
exit $wrong
