#!/bin/bash
# The exit matrix: for every way a process can end, whether the name of what it
# owned is there afterwards, and what the next open says. Then the same with
# the reaper.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
helper=$BUILD/tests/helpers/region_exit
name=shmb-test-$$-exit
work=$(mktemp -d)
export SHMB_TEST=$name
trap 'rm -rf "$work" /dev/shm/shmb-test-$$-*' EXIT
failures=0

present() { [ -e "/dev/shm/$name" ] && echo there || echo gone; }

# row KIND END STATUS NAME-AFTER NEXT-OPEN, and what was wanted of the last three
row() {
	local verdict=ok
	if [ "$3 $4 $5" != "$6 $7 $8" ]; then
		verdict="WRONG, want: $6 $7 $8"
		failures=$((failures + 1))
	fi
	printf '%-6s %-34s %6s  %-6s %-9s %s\n' "$1" "$2" "$3" "$4" "$5" "$verdict"
}

# Starts a helper that says "ready" and waits for the end of its input, fd 8.
start_waiting() {
	rm -f "$work/in" "$work/out"
	mkfifo "$work/in" "$work/out"
	"$@" <"$work/in" >"$work/out" &
	waiting=$!
	exec 8>"$work/in" 9<"$work/out"
	read -r -u 9 -t 60 word
	[ "$word" = ready ]
}

finish_waiting() {
	exec 8>&- 9<&-
	status=0
	wait "$waiting" || status=$?
}

# ended KIND END WANTED-STATUS WANTED-NAME WANTED-OPEN
ended() {
	local status=0 after next
	# in a subshell, whose own message about a killed child goes nowhere
	(ulimit -c 0; "$helper" $name "$1" "$2"; exit $?) 2>/dev/null >"$work/log" || status=$?
	after=$(present)
	next=$("$helper" $name "$1" open)
	row "$1" "$2" $status "$after" "$next" "$3" "$4" "$5"
}

normal_end() { ended "$1" "$2" 0 gone created; }
sudden_end() { ended "$1" "$2" "$3" there claimed; }

printf '%-6s %-34s %6s  %-6s %-9s\n' kind end status name 'next open'
for kind in raw arena; do
	normal_end $kind return
	normal_end $kind exit
	normal_end $kind quick_exit
	normal_end $kind thread
	sudden_end $kind _exit 0
	sudden_end $kind abort 134
	sudden_end $kind sigterm 143
	sudden_end $kind sigkill 137

	# The program it became lives, and owns nothing.
	start_waiting "$helper" $name $kind exec
	after=$(present) next=$("$helper" $name $kind open)
	finish_waiting
	row $kind 'exec (its successor runs)' - "$after" "$next" - there claimed

	start_waiting "$helper" $name $kind fork
	after=$(present) next=$("$helper" $name $kind open)
	row $kind 'fork, child exits (parent lives)' - "$after" "$next" - there attached
	finish_waiting
	after=$(present) next=$("$helper" $name $kind open)
	row $kind '  and the parent returns' $status "$after" "$next" 0 gone created

	start_waiting "$BUILD/tests/helpers/region_dlclose" "$PWD/$BUILD/libshmbind.so.0" $name $kind
	after=$(present) next=$("$helper" $name $kind open)
	row $kind 'dlclose (the program runs)' - "$after" "$next" - there attached
	finish_waiting
	after=$(present) next=$("$helper" $name $kind open)
	row $kind '  and it returns' $status "$after" "$next" 0 gone created
done

# ---- the reaper -----------------------------------------------------------------

# How many processes of the helper there are. A reaper is one from the moment
# of its fork, before it has its name; what tells ours is what they inherited.
helpers() {
	local environ comm n=0
	for environ in $(grep -slzx "SHMB_TEST=$name" /proc/[0-9]*/environ); do
		{ read -r comm <"${environ%environ}comm"; } 2>/dev/null || continue
		case $comm in region_exit | shmb-reaper) n=$((n + 1)) ;; esac
	done
	echo $n
}

# Waits, at most 5 s, until COMMAND prints WANT; prints what it printed last.
until_prints() {
	local want=$1 got i
	shift
	for i in $(seq 100); do
		got=$("$@")
		[ "$got" = "$want" ] && break
		sleep 0.05
	done
	echo "$got"
}

for kind in raw arena; do
	for end in _exit abort sigkill; do
		status=0
		(ulimit -c 0; "$helper" $name $kind $end reaper; exit $?) 2>/dev/null || status=$?
		after=$(until_prints gone present)
		row $kind "$end, reaper" - "$after" - - gone -
		row $kind '  processes left' - "$(until_prints 0 helpers)" - - 0 -
	done

	"$helper" $name $kind return reaper
	row $kind 'return, reaper' - "$(present)" - - gone -
	row $kind '  processes left' - "$(until_prints 0 helpers)" - - 0 -

	start_waiting "$helper" $name $kind fork reaper
	row $kind 'alive, reaper waits: 2 processes' - "$(present)" "$(until_prints 2 helpers)" - there 2
	next=$("$helper" $name $kind open)
	row $kind '  and is no owner to others' - "$(present)" "$next" - there attached
	finish_waiting
	row $kind '  processes left' - "$(until_prints 0 helpers)" - - 0 -

	(ulimit -c 0; "$helper" $name $kind sigkill reaper leak; exit $?) 2>/dev/null || true
	row $kind 'sigkill, reaper, leaked' - "$(until_prints 0 helpers)" "$(present)" - 0 there
	rm "/dev/shm/$name"

	figures=$("$helper" $name $kind race 200) && verdict=ok || verdict=WRONG
	[ $verdict = ok ] || failures=$((failures + 1))
	echo "$kind   200 owners with a reaper killed, the name opened at once: $figures $verdict"
	row $kind '  afterwards' - "$(present)" "$(until_prints 0 helpers)" - gone 0
done

[ $failures = 0 ] || { echo "$failures rows are wrong"; exit 1; }
echo "the exit matrix holds"
