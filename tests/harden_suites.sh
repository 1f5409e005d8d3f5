#!/bin/bash
# What holds of any region holds of a hardened one: the Check suites that do
# not go by sizes and by which block comes next, and a storm of kills.
. "$(dirname "$0")/helpers/script.sh"
. "$(dirname "$0")/helpers/tsan.sh"

suite() { # suite NAME: test_NAME on hardened regions
	TEST_HARDENED=1 timeout -k 10 200 "$BUILD/tests/test_$1" >"$work/out" 2>"$work/err" && grep -qE '^100%: Checks: [1-9]' "$work/out"
}

for name in box boxes boxes_death fork misuse region_arena save threads; do
	if [ "$SAN" = thread ] && [ "$name" = fork ]; then
		echo "note: test_fork: ThreadSanitizer does not follow its forks"
		continue
	fi
	if [ "$SAN" = address ] && [ "$name" = fork ]; then
		echo "note: test_fork: 200 children, each with 250 MB of AddressSanitizer's own"
		continue
	fi
	if [ "$SAN" = thread ]; then
		CK_FORK=$(tsan_forks "test_$name")
		export CK_FORK
	fi
	verify "test_$name on hardened regions" suite $name
done
storm() { "$BUILD/tests/crash_storm" --hardened --kills 300 --seconds 12 >"$work/out" 2>"$work/err" && grep -q ' 0 bytes lost$' "$work/out"; }
if [ "$SAN" = thread ]; then
	echo "note: crash_storm: of blocks that processes pass to each other ThreadSanitizer sees one end each"
else
	verify "a storm of kills: 0 bytes lost" storm
fi
rows_hold
