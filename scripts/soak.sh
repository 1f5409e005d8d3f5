#!/bin/bash
# Everything at once, for a stated time, in a /dev/shm of its own: storms with kills and stops, forks, threads,
# preloaded programs that end, are killed and start again, regions that come and go, and the tool's verbs in
# between. At the end nothing may be left, and nothing may have grown.
#
#   soak.sh SECONDS            BUILD=build; prints its figures, exits 1 with what was wrong
set -u
cd "$(dirname "$0")/.."
seconds=${1:?usage: soak.sh SECONDS}
export BUILD=${BUILD:-build} LC_ALL=C SHMBIND_LOG=0
case $seconds in *[!0-9]* | '') echo "soak.sh: $seconds: not a number of seconds" >&2; exit 2 ;; esac

if [ -z "${SOAK_INSIDE:-}" ]; then
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT
	SOAK_INSIDE=$work unshare --mount --pid --fork --mount-proc --propagation private bash "$0" "$seconds"
	exit
fi
work=$SOAK_INSIDE
mount -t tmpfs -o mode=1777,size=4G none /dev/shm || exit 1
tool=$PWD/$BUILD/shmbind tests=$PWD/$BUILD/tests
ulimit -c 0

# repeat NAME COMMAND...: until the time is over; how often, and what failed, in $work/NAME
repeat() {
	local name=$1 n=0 failed=0 status
	while [ ! -e "$work/over" ]; do
		"${@:2}" >"$work/$name.out" 2>&1
		status=$?
		n=$((n + 1))
		[ $status = 0 ] || { failed=$((failed + 1)); { echo "status $status:"; tail -n 5 "$work/$name.out"; } >>"$work/$name.failed"; }
		echo "$n $failed" >"$work/$name"
	done
}

program() { # one that places everything, and is killed in every third run
	local pid status=0 want=0
	"$tool" run --region /soak.%p --place all -- /usr/bin/python3 -c '
import os, random
keep = [bytes(random.randrange(1, 200000)) for _ in range(2000)]
for _ in range(5):
    pid = os.fork()
    if pid == 0:
        keep = [bytearray(x) for x in keep[:200]]
        os._exit(0)
    os.waitpid(pid, 0)' &
	pid=$!
	if [ $((RANDOM % 3)) = 0 ]; then
		sleep "0.$((RANDOM % 5))"
		pkill -KILL -P $pid || true
		want=any
	fi
	wait $pid || status=$?
	[ $want = any ] || [ $status = 0 ]
}
pipeline() {
	[ "$(seq 200000 | "$tool" run --region /soak.%p --place 'size=1K..' -- sort -n | "$tool" run --region /soak.%p --place all -- xz -1 | xz -d | md5sum)" = \
		"$(seq 200000 | md5sum)" ]
}
regions() { # thirty that come and go
	local pids=() p
	for _ in $(seq 30); do
		"$tool" run --region /soak.%p --place all -- true &
		pids+=($!)
	done
	for p in "${pids[@]}"; do wait "$p" || return 1; done
}
rules() { # changed under a program, which ends by itself
	local pid name=/soak-rules
	"$tool" run --region $name --place all -- /usr/bin/python3 -c '
x = [bytes(i % 5000) for i in range(300000)]' &
	pid=$!
	for i in $(seq 20); do
		"$tool" rules $name --set "size=$i..;thread=none" >/dev/null 2>&1 || true # before its start or after its end
		"$tool" rules $name --off >/dev/null 2>&1 || true
	done
	wait $pid
}
look() { # everything that looks, at everything: 1 is for a region that went meanwhile, never 3
	local name status
	"$tool" ls >/dev/null && "$tool" top --once >/dev/null || return 1
	for name in $("$tool" ls --json | jq -r '.regions[]? // .[]?[]? | .name' 2>/dev/null); do
		for verb in check stats 'stats --json' map blocks; do
			"$tool" $verb "$name" >"$work/look.text" 2>&1
			status=$?
			[ $status -lt 2 ] || { echo "$verb $name: status $status"; tail -n 3 "$work/look.text"; return 1; }
		done
	done
}
storm() { "$tests/crash_storm" --kills 40; }
stops() { "$tests/crash_stop" 20 20000; }
gc() { sleep 0.3; "$tool" gc; }

echo "soak: $seconds s, $(nproc) processors"
jobs="program pipeline regions rules look storm stops gc"
for job in $jobs; do repeat "$job" "$job" & done
began=$SECONDS
most=0 early=0 late=0
while [ $((SECONDS - began)) -lt "$seconds" ]; do
	sleep 1
	used=$(df -k --output=used /dev/shm | tail -n 1)
	[ "$used" -le $most ] || most=$used
	[ $((SECONDS - began)) -ge $((seconds / 2)) ] || { [ "$used" -le $early ] || early=$used; }
	[ $((SECONDS - began)) -lt $((seconds / 2)) ] || { [ "$used" -le $late ] || late=$used; }
done
: >"$work/over"
wait
"$tool" gc --force >/dev/null

wrong=0
for job in $jobs; do
	read -r n failed <"$work/$job"
	printf '%-9s %6d times, %d failed\n' "$job" "$n" "$failed"
	[ "$failed" = 0 ] || { wrong=1; head -n 12 "$work/$job.failed"; }
	[ "$n" -gt 0 ] || wrong=1
done
printf 'shared memory in use: at most %d KiB in the first half, %d KiB in the second\n' $early $late
[ $late -le $((early * 3 / 2 + 65536)) ] || { echo "it grew"; wrong=1; }
left=$(ls -A /dev/shm)
[ -z "$left" ] || { echo "left: $left"; wrong=1; }
others=$(pgrep -c . | head -n 1)
[ "$others" -le 3 ] || { echo "left: processes:"; ps -e -o pid,args; wrong=1; }
[ $wrong = 0 ] && echo "nothing is left, nothing grew"
exit $wrong
