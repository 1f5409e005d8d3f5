#!/bin/bash
# The library's Check suites under valgrind, in a build that tells it of the
# blocks, and tests/shadow.sh.
#
#   BUILD=build-valgrind valgrind.sh TEST...
#
# Each check is a forked child, which valgrind follows; one that it has an error
# to report of ends with status 9, which Check counts. What is left out, and why:
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build-valgrind} SAN=valgrind LC_ALL=C
limit=${TEST_TIMEOUT:-300}
logs=$BUILD/logs
mkdir -p "$logs"
failed=()

why_not() {
	case $1 in
	test_fork) echo "two hundred processes at a time, each a valgrind" ;;
	test_harden) echo "three hundred processes, one after the other, and hardened regions tell valgrind nothing" ;;
	test_ref) echo "it tries each byte of a region: minutes" ;;
	test_region) echo "a mapping of 2^62 bytes fails otherwise there" ;;
	test_region_own | test_region_arena | test_window) echo "no blocks to speak of, and minutes" ;;
	test_threads) echo "valgrind runs one thread at a time: minutes" ;;
	esac
}

for t in "$@"; do
	name=$(basename "$t")
	log=$logs/$name.log
	why=$(why_not "$name")
	[ -z "$why" ] || { echo "skip  $name: $why"; continue; }
	start=$SECONDS
	CK_TIMEOUT_MULTIPLIER=4 timeout -k 10 "$limit" valgrind -q --error-exitcode=9 --leak-check=no "$t" >"$log" 2>&1 </dev/null
	code=$?
	checks=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), .*/\1/p' "$log" | tail -1)
	if [ $code = 0 ] && [ -n "$checks" ]; then
		printf 'pass  %-20s %3ds  %s checks\n' "$name" $((SECONDS - start)) "$checks"
	else
		printf 'FAIL  %-20s %3ds  status %d\n' "$name" $((SECONDS - start)) $code
		grep -vE '^Running' "$log" | tail -${TEST_TAIL:-30} | sed 's/^/      | /'
		failed+=("$name")
	fi
done
bash tests/shadow.sh || failed+=(shadow.sh)
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
