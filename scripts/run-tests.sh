#!/bin/bash
# Runs Check suites, crash tests and test scripts; ends with the totals.
#
#   BUILD=build SAN= run-tests.sh TEST...
#
# A script or crash test exits 0 (passed), 77 (skipped, its last line says
# why) or anything else (failed). A Check suite counts each of its checks.
set -u
cd "$(dirname "$0")/.." || exit 1
export BUILD=${BUILD:-build} SAN=${SAN:-} LC_ALL=C
export PATH=$PWD/$BUILD:$PATH
limit=${TEST_TIMEOUT:-600}
logs=$BUILD/logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0 broken=()

for t in "$@"; do
	name=$(basename "$t")
	log=$logs/$name.log
	start=$SECONDS
	case $t in
	*.sh) timeout -k 10 "$limit" bash "$t" >"$log" 2>&1 </dev/null ;;
	*) timeout -k 10 "$limit" "$t" >"$log" 2>&1 </dev/null ;;
	esac
	code=$?
	counts=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$log" | tail -1)
	if [ -n "$counts" ]; then
		read -r checks failures errors <<<"$counts"
	else
		checks=1 failures=0 errors=0
	fi
	bad=$((failures + errors))
	case $code in
	0) word=pass ;;
	77) word=SKIP checks=0 skipped=$((skipped + 1)) ;;
	*) word=FAIL; [ $bad -gt 0 ] || bad=1; [ "$checks" -ge $bad ] || checks=$bad ;;
	esac
	passed=$((passed + checks - bad)) failed=$((failed + bad))
	printf '%-4s  %-28s %3ds' $word "$name" $((SECONDS - start))
	[ -n "$counts" ] && printf '  %d checks' "$checks"
	[ $code = 77 ] && printf '  %s' "$(tail -1 "$log")"
	echo
	grep -E '^(note|skip):' "$log" | sed 's/^/      /'
	if [ $word = FAIL ]; then
		broken+=("$name")
		tail -${TEST_TAIL:-40} "$log" | sed 's/^/      | /'
	fi
done

[ ${#broken[@]} = 0 ] || echo "failed: ${broken[*]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
