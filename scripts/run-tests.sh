#!/bin/bash
# Runs Check suites, crash tests and test scripts; ends with the totals.
#
#   BUILD=build SAN= TEST_JOBS=2 run-tests.sh TEST...
#
# TEST_JOBS (as many as processors, 4 at most) run at a time, each with a /dev/shm of its own: what one leaves, looks
# for or collects is nobody else's. Without the privilege for that they run one by one.
#
# A script or crash test exits 0 (passed), 77 (skipped, its last line says
# why) or anything else (failed). A Check suite counts each of its checks, but
# for those that say "skip: NAME: why".
set -u
cd "$(dirname "$0")/.." || exit 1
. tests/helpers/tsan.sh
export BUILD=${BUILD:-build} SAN=${SAN:-} LC_ALL=C
export PATH=$PWD/$BUILD:$PATH
limit=${TEST_TIMEOUT:-600}
logs=$BUILD/logs
mkdir -p "$logs"
passed=0 failed=0 skipped=0 broken=()

# ---- ThreadSanitizer
# It sees the threads of one process: what is between processes it takes for
# nothing, and it loses its way where a process with threads forks.
tsan_setup() {
	# jemalloc takes more than the 64 locks before a fork that the deadlock
	# detector has room for; DEBUG=1 builds check the order of ours
	export TSAN_OPTIONS="detect_deadlocks=0 ${TSAN_OPTIONS:-}"
	# addresses that are too random for it (vm.mmap_rnd_bits above 28) end it: "unexpected memory mapping"
	setarch -R true 2>/dev/null && run=(setarch -R)
}

# Why a test cannot run under ThreadSanitizer, if so.
tsan_unfit() {
	case $1 in
	crash_boxes) echo "most of what would be stepped are the sanitizer's own instructions" ;;
	crash_recover) echo "processes of one thread: nothing that the sanitizer could see, and a million blocks take it long" ;;
	crash_stop | crash_storm) echo "forked processes with threads, which pass blocks to each other by way of others: it sees one end of each" ;;
	esac
}

# ---- valgrind, in builds that tell it of the blocks
# Each check is a forked child, which it follows; one that it has an error to report of ends with status 9.
valgrind_setup() {
	run=(valgrind -q --error-exitcode=9 --leak-check=no)
	export CK_TIMEOUT_MULTIPLIER=4
}

valgrind_unfit() {
	case $1 in
	test_fork) echo "two hundred processes at a time, each a valgrind" ;;
	test_harden) echo "three hundred processes, one after the other, and hardened regions tell valgrind nothing" ;;
	test_ref) echo "it tries each byte of a region: minutes" ;;
	test_region) echo "a mapping of 2^62 bytes fails otherwise there" ;;
	test_region_own | test_region_arena | test_window) echo "no blocks to speak of, and minutes" ;;
	test_threads) echo "valgrind runs one thread at a time: minutes" ;;
	esac
}

run=()
unfit=true # says why a test cannot run so
case $SAN in
thread) tsan_setup; unfit=tsan_unfit ;;
valgrind) valgrind_setup; unfit=valgrind_unfit ;;
esac

run_one() { # run_one TEST NAME
	local why
	why=$($unfit "$2")
	[ -z "$why" ] || { echo "$why"; return 77; }
	if [ "$SAN" = thread ]; then
		local -x CK_FORK
		CK_FORK=$(tsan_forks "$2")
	fi
	case $1 in
	*.sh)
		[ "$SAN" != valgrind ] || local run=() # they start what they want under it
		set -- bash "$1"
		;;
	*) set -- "$1" ;;
	esac
	timeout -k 10 "$limit" "${private[@]}" "${run[@]}" "$@"
}

# ---- several at a time
private=(unshare --mount --propagation private sh -c 'mount -t tmpfs -o mode=1777 none /dev/shm && exec "$@"' sh)
jobs=${TEST_JOBS:-$(nproc)}
case $jobs in '' | 0 | *[!0-9]*) echo "run-tests.sh: TEST_JOBS: $jobs: not a number of jobs" >&2; exit 2 ;; esac
[ "$jobs" -le 4 ] || [ -n "${TEST_JOBS:-}" ] || jobs=4
if [ "$jobs" -gt 1 ] && ! "${private[@]}" true 2>/dev/null; then
	echo "one test at a time: no privilege for a /dev/shm for each"
	jobs=1
fi
[ "$jobs" -gt 1 ] || private=()

# The status and the seconds of a test, in a file beside its log.
job() { # job TEST NAME
	local start=$SECONDS code
	run_one "$1" "$2" >"$logs/$2.log" 2>&1 </dev/null
	code=$?
	echo "$code $((SECONDS - start))" >"$logs/$2.result"
}

report() { # report NAME
	local name=$1 log=$logs/$1.log code seconds counts checks failures errors bad within word
	read -r code seconds <"$logs/$name.result"
	counts=$(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$log" | tail -1)
	if [ -n "$counts" ]; then
		read -r checks failures errors <<<"$counts"
	else
		checks=1 failures=0 errors=0
	fi
	bad=$((failures + errors))
	if [ -n "$counts" ]; then
		within=$(grep -c '^skip:' "$log")
		skipped=$((skipped + within)) checks=$((checks - within))
	fi
	case $code in
	0) word=pass ;;
	77) word=SKIP checks=0 skipped=$((skipped + 1)) ;;
	*) word=FAIL; [ $bad -gt 0 ] || bad=1; [ "$checks" -ge $bad ] || checks=$bad ;;
	esac
	passed=$((passed + checks - bad)) failed=$((failed + bad))
	printf '%-4s  %-28s %3ds' $word "$name" "$seconds"
	[ -n "$counts" ] && printf '  %d checks' "$checks"
	[ "$code" = 77 ] && printf '  %s' "$(tail -1 "$log")"
	echo
	grep -E '^(note|skip):' "$log" | sed 's/^/      /'
	if [ $word = FAIL ]; then
		broken+=("$name")
		tail -"${TEST_TAIL:-40}" "$log" | sed 's/^/      | /'
	fi
}

declare -A running=() # by process id
finish_one() {
	local pid
	wait -n -p pid "${!running[@]}"
	report "${running[$pid]}"
	unset "running[$pid]"
}

for t in "$@"; do
	name=$(basename "$t")
	rm -f "$logs/$name.result"
	[ ${#running[@]} -lt "$jobs" ] || finish_one
	job "$t" "$name" &
	running[$!]=$name
done
while [ ${#running[@]} -gt 0 ]; do finish_one; done

[ ${#broken[@]} = 0 ] || echo "failed: ${broken[*]}"
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
