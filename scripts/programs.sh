#!/bin/bash
# Unmodified programs under `shmbind run`: what they print, the files they
# make and their exit status are the same as without, and nothing is left.
#
#   programs.sh [--check] [PROGRAM...]
#   programs.sh --inputs DIRECTORY     only makes what they read, for bench/programs
#
# Without names: all of tests/programs, or with --check those that `make check`
# runs and this machine has. Each is a bash script that runs in an empty
# directory and prints what can be compared; $in has inputs, $top is the source
# tree. Its head says what it wants:
#
#   # needs: COMMAND:PACKAGE ...  (or /PATH:PACKAGE, a pattern; scripts/deps.sh reads it, too)
#   # check                       `make check` runs it
#   # execs                       its forked children do nothing but exec
#   # made: PATTERN ...           files that have to be the same
#   # limit: SECONDS              longest time for one run
#
# Rules of a row, all with fork=copy but the last:
#
#   all        every allocation placed
#   64K        size=64K.. (the default rule)
#   share      every allocation placed, fork=share. Only for `execs`: in one
#              memory a child that goes on changes its parent's data, which
#              share says it does.
#
# Columns: program, rules, blocks placed (by processes that own a region and
# leave by exit), the regions' greatest size together, seconds without the shim
# and with it, their ratio (of one run each: other load shows), result.
. "$(dirname "$0")/../tests/helpers/script.sh"
needs_shim
top=$PWD
programs=tests/programs
chmod 755 "$work" # some programs run as another user
missing=
export HOME=$work TZ=UTC LC_ALL=C GIT_CONFIG_NOSYSTEM=1 PYTHONHASHSEED=1 PYTHONDONTWRITEBYTECODE=1 top in=$work/in
export OMP_NUM_THREADS=2 OPENBLAS_NUM_THREADS=2

# ---- what the heads say -----------------------------------------------------------------

head_of() { sed -n "/^[^#]/q; s/^# $2: *//p" "$programs/$1"; }     # head_of PROGRAM KEY
marked() { sed '/^[^#]/q' "$programs/$1" | grep -qx "# $2"; }      # marked PROGRAM WORD
lacking() { # lacking PROGRAM: what it needs and is not there
	local need thing
	for need in $(head_of "$1" needs); do
		thing=${need%:*}
		case $thing in
		/*) compgen -G "$thing" >/dev/null || echo "$thing" ;;
		*) command -v "$thing" >/dev/null || echo "$thing" ;;
		esac
	done
}

# ---- inputs, made without the shim ----------------------------------------------------------

make_inputs() {
	mkdir "$in" "$in/src"
	/usr/bin/python3 "$programs/inputs.py" "$in"
	cp src/*.c src/*.h "$in/src" # a copy: nobody edits it meanwhile
	xz -1 -c "$in/lines" >"$in/lines.xz"
	(cd "$in" && sed "/clone/d" "$top/$programs/git" | bash >/dev/null)
	chmod -R a+rX "$in"
}

# ---- running ------------------------------------------------------------------------------------

# How large the regions are together, from time to time; the greatest in $work/peak.
watch_peak() {
	local bytes most=0
	while :; do
		# shellcheck disable=SC2046 # names without blanks
		bytes=$(stat -c %b $(left) /dev/null 2>/dev/null | awk '{ n += $1 } END { printf "%.0f", n * 512 }')
		[ "$bytes" -le $most ] || { most=$bytes; echo $most >"$work/peak"; }
		sleep 0.1
	done
}

# once PREFIX-COMMAND... : runs $p; what came of it in $work/now, its time in $took (ms)
once() {
	local from now=$work/now limit
	limit=$(head_of "$p" limit)
	rm -rf "$now" "$work/stats" && mkdir -p "$now/cwd" "$work/stats" && chmod 1777 "$work/stats" "$now/cwd"
	echo 0 >"$work/peak"
	watch_peak &
	local watcher=$!
	from=$(date +%s%N)
	status=0
	# the shell that waits says nothing of a killed child
	(cd "$now/cwd" && timeout -k 5 "${limit:-120}" "$@" bash "$top/$programs/$p" >"$now/out" 2>"$now/err" </dev/null; exit $?) 2>/dev/null || status=$?
	echo $status >"$now/status"
	took=$((($(date +%s%N) - from) / 1000000))
	kill $watcher && wait $watcher 2>/dev/null || true
	for _ in {1..50}; do # some programs' helpers end a little after them
		[ -n "$(left)" ] || break
		sleep 0.1
	done
}
keep_as() { rm -rf "${work:?}/$1" && mv "$work/now" "$work/$1"; }

made() { # made DIRECTORY: the sums of the files that the program's head names
	local pattern names=()
	set -f
	for pattern in $(head_of "$p" made); do names+=(-o -name "$pattern"); done
	set +f
	[ ${#names[@]} = 0 ] || (cd "$1/cwd" && find . -type f \( "${names[@]:1}" \) -exec sha256sum {} + | sort -k2)
}
verdict() { # of $work/with against $work/without
	local w=$work/with o=$work/without
	case $(cat $w/status) in 124 | 137) echo "took longer than $(head_of "$p" limit || echo 120) s"; return ;; esac
	cmp -s $w/status $o/status || { echo "status $(cat $w/status), not $(cat $o/status)"; return; }
	cmp -s $w/out $o/out || { echo "other output: $(cmp $w/out $o/out 2>&1 | head -1)"; return; }
	cmp -s $w/err $o/err || { echo "other messages: $(diff $w/err $o/err | head -2 | tr '\n' ' ')"; return; }
	[ "$(made $w)" = "$(made $o)" ] || { echo "other files: $(diff <(made $w) <(made $o) | head -1)"; return; }
	[ -z "$(left)" ] || { echo "left: $(left)"; return; }
	echo same
}

# ---- figures, from what the processes wrote of their regions at exit ----------------------------------

placed() {
	find "$work/stats" -type f -exec cat {} + | jq -s '[.[].rules[] | select(.places) | .hits - .fallbacks] | add // 0'
}
# A process that is quicker than the watch has at its end what it had last.
peak() {
	local last
	last=$(find "$work/stats" -type f -exec cat {} + |
		jq -s '[.[] | (.small_units + .large_units + .populated_free_units) * 65536] | max // 0')
	echo $((last > $(cat "$work/peak") ? last : $(cat "$work/peak")))
}

with() { # with LABEL OPTION...
	local result
	once "$tool" run --log 0 --region "$prefix%p" --stats "$work/stats/%p.json" "${@:2}" --
	keep_as with
	result=$(verdict)
	rows=$((rows + 1))
	printf '%-17s %-6s %9d %9s %8.2f %8.2f %6.2f  %s\n' "$p" "$1" "$(placed)" "$(numfmt --to=iec "$(peak)")" \
		"${plain}e-3" "${took}e-3" "$(awk "BEGIN { print $took / ($plain + 1) }")" "$result"
	if [ "$result" != same ]; then
		failures=$((failures + 1))
		head -5 "$work/with/err" | cut -c1-200 | cat -v | sed 's/^/     | /'
		[ -z "${KEEP:-}" ] || { rm -rf "$KEEP/$p.$1" && mkdir -p "$KEEP" && cp -r "$work/with" "$KEEP/$p.$1" && cp -r "$work/without" "$KEEP/$p.$1/"; }
		rm -f "/dev/shm$prefix"*
	fi
}

run_program() {
	once
	keep_as without
	plain=$took
	if [ ! -s "$work/without/out" ] && [ -z "$(made "$work/without")" ] || grep -q '^1[23]' "$work/without/status"; then
		echo "FAIL $p: does not work without the shim either: $(cat "$work/without/status") $(head -3 "$work/without/err")"
		failures=$((failures + 1))
		return
	fi
	with all --place all
	with 64K --place size=64K..
	if marked "$p" execs; then with share --place all --fork share; fi
}

# ---- which ---------------------------------------------------------------------------------------------

if [ "${1:-}" = --inputs ]; then
	in=$2
	make_inputs
	exit
fi
checking=
if [ "${1:-}" = --check ]; then checking=yes && shift; fi
chosen=("$@")
if [ $# = 0 ]; then
	for p in $(cd $programs && ls | grep -v '\.py$'); do
		if [ -z "$checking" ] || marked "$p" check; then chosen+=("$p"); fi
	done
fi

make_inputs
printf '%-17s %-6s %9s %9s %8s %8s %6s  %s\n' program rules blocks peak without with times result
for p in "${chosen[@]}"; do
	lack=$(lacking "$p" | tr '\n' ' ')
	if [ -z "$lack" ]; then
		run_program
	else
		missing+=" $p ($lack)"
		[ -n "$checking" ] || failures=$((failures + 1))
	fi
done
[ -z "$missing" ] || echo "note: not installed, for$missing"
[ $failures = 0 ] || { echo "$failures of $rows runs differ or did not happen"; exit 1; }
echo "$rows runs, all the same as without the shim"
