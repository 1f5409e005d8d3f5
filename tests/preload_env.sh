#!/bin/bash
# The shim's environment: every key with good and bad values, the rule grammar,
# what a full region gives, statistics at exit, kept regions, names.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helper=$PWD/$BUILD/tests/helpers/preload_env

# run KEY=VALUE... -- ARG...: the helper with the shim; $status, $work/out, $work/err
run() {
	local keys=()
	while [ "$1" != -- ]; do
		keys+=("$1")
		shift
	done
	shift
	status=0
	# a shell of its own, whose message about a killed child goes nowhere
	(cd "$work" && env SHMBIND_REGION=${prefix}r "${keys[@]}" LD_PRELOAD="$shim" "$helper" "$@" >"$work/out" 2>"$work/err"; exit $?) \
		2>/dev/null || status=$?
}
out_is() { [ "$(cat "$work/out")" = "$1" ]; }
one_line() { [ "$(wc -l <"$work/err")" = 1 ] && [ "$(tail -c 1 "$work/err" | od -An -c | tr -d ' ')" = '\n' ]; }
says() { grep -qF -- "$1" "$work/err"; }
silent() { [ ! -s "$work/err" ]; }
show() { printf '%q' "$1" | cut -c1-60; }

# ---- bad values --------------------------------------------------------------------

# bad KEY VALUE [WHAT-THE-LINE-NAMES]: one line with key and value; the program runs unplaced
bad() {
	local title named=${3-$2}
	title="$1=$(show "$2"): refused by one line, the program runs unplaced"
	run "$1=$2" -- sizes 5 100000
	rows=$((rows + 1))
	if ! one_line; then
		wrong "$title" "it said $(wc -l <"$work/err") lines: $(head -c 300 "$work/err" | tr '\n' '|')"
	elif ! says "$1" || ! says "$named" || ! says 'running without a region'; then
		wrong "$title" "it said: $(cat -v "$work/err" | head -c 300)"
	elif [ "$status" != 5 ] || ! out_is '100000 heap' || ! nothing_left; then
		wrong "$title" "status $status, output $(cat "$work/out"), left: $(left)"
	else
		echo "ok   $title"
	fi
}

long_name=$(printf 'n%.0s' {1..300})
for v in '' 3 -1 x 1x ' 1' '1 ' 99999999999999999999; do bad SHMBIND_LOG "$v"; done
for v in '' 0 x -1 1.5G 64k 64KB ' 64K' '64K ' 1P K 99999999999999999999 16777216T 5T; do bad SHMBIND_SIZE "$v"; done
for v in '' none Deny Copy 'copy ' copy,share; do bad SHMBIND_FORK "$v"; done
for v in '' ENOMEM none 'abort '; do bad SHMBIND_FULL "$v"; done
for v in '' 2 yes -1; do bad SHMBIND_KEEP "$v"; done
for v in '' 2 yes -1; do bad SHMBIND_DRYRUN "$v"; done
for v in '' 2 yes -1; do bad SHMBIND_HARDEN "$v"; done
for v in '' 2 yes -1; do bad SHMBIND_SMALLPAGES "$v"; done
bad SHMBIND_STATS ''
for v in '' / // fabric ./fabric ../fabric /no/such/directory /dev/null /dev/null/feed; do bad SHMBIND_PATH "$v"; done
bad SHMBIND_RUN 12345678901234567890123456789012
for v in '' / . .. /a/b a/b "$long_name"; do bad SHMBIND_REGION "$v" "$(printf '%.100s' "$v")"; done
for k in SHMBIND_ SHMBIND_DRYRUNS SHMBIND_DRY_RUN SHMBIND_PLACES SHMBIND_Size SHMBIND_X_Y; do bad $k 1; done

for v in '' ';;' ' ' '#only this' size size= size=.. size=4X size=4K..1K size=4k.. size=-1 size=4K...8K size=4K..8K..16K \
	size=99999999999999999999 size=16777216T 'size=4K.. more' alll ALL ! 'big:' ':all' 'a=b:all' '!!all' \
	'size = 4K' 'size=4K,' '@' '@/no/such/file' \
	module= module 'module=a module=b' 'size=4K:module=a' 'x y:all' \
	site= site=+ site=+0x1 site=a+ site=a+0x site=a+1 site=a+0xg site=a+0x12345678901234567 site=0x1234 site=f,g 'site=f()' \
	site=ns::f 'site=f site=g' 'site=f site=a+0x1' 'site=a+0x1 site=f' thread= 'thread=a thread=b' \
	sample= sample=1 sample=2 sample=1/ sample=1/0 sample=2/3 sample=1/x sample=1/-2 sample=1/2K sample=1/2/3 \
	'sample=1/2 sample=1/2' sample=1/99999999999999999999 Module=a caller=f; do
	bad SHMBIND_PLACE "$v"
done
bad SHMBIND_PLACE 'all;bogus' bogus
bad SHMBIND_PLACE 'size=4K.. module=libc.so.6 who=me;all' 'size=4K.. module=libc.so.6 who=me'
bad SHMBIND_PLACE "all;#$(printf '%20000s' x)" 16
bad SHMBIND_PLACE ' ! ;all' '"!"'
bad SHMBIND_PLACE $'all\nbogus=1\nall' bogus=1
bad SHMBIND_PLACE 'a-name-of-thirty-two-characters-:all'
bad SHMBIND_PLACE "$(printf 'size=%d;' {1..65})" size=65
bad SHMBIND_PLACE "all;$(printf 'x%.0s' {1..400})" xxxxxxxxxxxx
: >"$work/empty"
printf 'all\n#%20000s\n' x >"$work/huge"
printf '# fine so far\nsize=4K..\nsize=oops\n' >"$work/oops"
for f in empty huge; do bad SHMBIND_PLACE "@$work/$f"; done
bad SHMBIND_PLACE "@$work/oops" size=oops

run SHMBIND_LOG=0 SHMBIND_SIZE=x -- sizes 5 1
verify "a bad value is said even with SHMBIND_LOG=0" one_line
run SHMBIND_SIZE=x SHMBIND_FORK=y SHMBIND_NO=1 -- sizes 5 1
verify "three mistakes: still one line" one_line

# ---- good values ---------------------------------------------------------------------

# place RULES SIZE:WHERE...
place() {
	local want='' arg sizes=()
	for arg in "${@:2}"; do
		sizes+=("${arg%:*}")
		case ${arg#*:} in r) want+="${arg%:*} region"$'\n' ;; h) want+="${arg%:*} heap"$'\n' ;; esac
	done
	run SHMBIND_LOG=0 SHMBIND_PLACE="$1" -- sizes 0 "${sizes[@]}"
	rows=$((rows + 1))
	if [ "$(cat "$work/out")"$'\n' = "$want" ] && silent && [ $status = 0 ] && nothing_left; then
		echo "ok   rules $(show "$1"): ${*:2}"
	else
		wrong "rules $(show "$1"): ${*:2}" "$(tr '\n' ',' <"$work/out") $(cat "$work/err")"
	fi
}
place all 0:r 1:r 5000:r 1000000:r
place size=64K.. 1:h 65535:h 65536:r 1000000:r
place size=..4K 0:r 1:r 4096:r 4097:h 1000000:h
place size=4K..64K 4095:h 4096:r 65536:r 65537:h
place size=100 99:h 100:r 101:h
place size=0 0:r 1:h
place size=0..0 0:r 1:h
place size=1M 1048576:r 1048575:h
place size=1G.. 100:h 1073741823:h
place size=0..1T 0:r 100000:r
place 'size=1K.. size=..2K' 1023:h 1024:r 2048:r 2049:h
place 'size=2K.. size=..1K' 1024:h 1500:h 2048:h
place '!all' 1:h 100000:h
place '!size=4K..8K;all' 4095:r 4096:h 8192:h 8193:r
place 'all;!size=4K..8K' 4096:r 9000:r
place 'size=10;size=20;size=30' 10:r 15:h 20:r 25:h 30:r
place '!size=15;size=10..20' 10:r 15:h 20:r
place '! size=15 ; size=10..20 ' 10:r 15:h 20:r
place 'buffers: size=64K..' 65536:r 100:h
place 'buffers:size=64K..;small:size=..100' 65536:r 100:r 101:h
place '!buffers: size=64K..;rest: all' 65536:h 100:r
place $'size=10\nsize=20\n\n  # size=30\n\tsize=40\t\r\n' 10:r 20:r 30:h 40:r
place ';;size=10;;' 10:r 11:h
place '#size=20;size=10' 10:r 20:h
place "$(printf 'size=%d;' {1..64})" 1:r 64:r 65:h
place 'a-name-of-thirty-one-characters:all' 1:r
place 'module=*;all' 1:r
place 'here: module=a:b;size=10' 10:r 11:h
printf '# buffers\nbuffers: size=64K..\n\n! size=100 # no comment here' >"$work/bad-rules"
bad SHMBIND_PLACE "@$work/bad-rules" '! size=100 # no comment here'
printf '# buffers\r\nbuffers: size=64K..\r\n\n!size=100;size=90..110' >"$work/rules"
place "@$work/rules" 65536:r 100:h 101:r 89:h

run -- sizes 5 65535 65536
verify "no rules: those of 64 KiB and more are placed" out_is $'65535 heap\n65536 region'
verify "and the exit status is the program's" [ $status = 5 ]
verify "SHMBIND_LOG unset: one line that says the name" eval 'one_line && says ${prefix}r'
run SHMBIND_LOG=1 -- sizes 5 65536
verify "SHMBIND_LOG=1: the same" eval 'one_line && says ${prefix}r'
run SHMBIND_LOG=0 -- sizes 5 65536
verify "SHMBIND_LOG=0: silent, and placed" eval 'silent && out_is "65536 region"'
run SHMBIND_LOG=2 -- sizes 5 65536
verify "SHMBIND_LOG=2: at least that line" says ${prefix}r

for size in 64K 1M 100M 1G 64G 1T 1000000; do
	run SHMBIND_LOG=0 SHMBIND_SIZE=$size SHMBIND_PLACE=all -- sizes 0 5000
	verify "SHMBIND_SIZE=$size: placed" eval 'silent && out_is "5000 region"'
done

# ---- who takes part ---------------------------------------------------------------------

takes_part() { # takes_part GLOBS region|heap
	run SHMBIND_EXE="$1" SHMBIND_LOG=0 SHMBIND_PLACE=all -- sizes 0 5000
	verify "SHMBIND_EXE=$1: $2" [ "$(cat "$work/out" "$work/err") $(left)" = "5000 $2 " ]
}
for globs in preload_env 'pre*' 'preload_???' 'cat:pre*:dog' '*'; do takes_part "$globs" region; done
for globs in env preload_en 'cat:dog' 'pre' 'PRE*'; do takes_part "$globs" heap; done
run SHMBIND_EXE=cat SHMBIND_SIZE=nonsense SHMBIND_WHAT=1 -- sizes 0 5000
verify "a program that takes no part says nothing, whatever the other keys are" silent

if [ "$(id -u)" = 0 ]; then
	cp "$helper" "$work/as-nobody" && chmod 755 "$work"
	chown 65534 "$work/as-nobody" && chmod 4755 "$work/as-nobody"
	out=$(SHMBIND_PLACE=all SHMBIND_REGION=${prefix}r LD_PRELOAD="$shim" "$work/as-nobody" sizes 0 5000 2>&1)
	verify "a set-user-id program takes no part" [ "$out" = '5000 heap' ]
else
	echo "note: set-user-id: not verified, this needs root"
fi

# ---- names ----------------------------------------------------------------------------------

# hold NAME: a process that has a region of that name, until `let_go`; its pid in $holder
hold() {
	rm -f "$work/in" "$work/holds" && mkfifo "$work/in" "$work/holds"
	SHMBIND_LOG=0 SHMBIND_PLACE=all SHMBIND_REGION=$1 LD_PRELOAD=$shim "$helper" hold <"$work/in" >"$work/holds" &
	holder=$!
	exec 8>"$work/in" 9<"$work/holds"
	read -r -u 9 -t 60 word && [ "$word" = ready ]
}
let_go() {
	exec 8>&- 9<&-
	wait $holder || true
}
killed() {
	{ kill -KILL $holder && wait $holder || true; } 2>/dev/null
	exec 8>&- 9<&-
}

hold ${prefix}r
run SHMBIND_PLACE=all -- sizes 5 5000
verify "a fixed name that a living process has: unplaced, says so in one line" \
	eval 'one_line && says ${prefix}r && says "another process has it" && out_is "5000 heap" && [ $status = 5 ]'
verify "and the living one's region is there" [ -e /dev/shm${prefix}r ]
killed
verify "its owner killed: the name is still there" [ -e /dev/shm${prefix}r ]
run SHMBIND_PLACE=all SHMBIND_LOG=0 -- sizes 5 5000
verify "a fixed name of a dead owner: taken over" eval 'silent && out_is "5000 region" && nothing_left'

run SHMBIND_REGION="$prefix%e-%p-%%" SHMBIND_PLACE=all -- sizes 0 5000
verify "%e and %p in the name" grep -qE "${prefix}preload_env-[0-9]+-%" "$work/err"

# suffix ALIVE: a process whose %p name somebody has
suffixed() {
	(
		hold "${prefix}n$BASHPID"
		[ "$1" = alive ] || killed
		exec env SHMBIND_PLACE=all SHMBIND_REGION="${prefix}n%p" LD_PRELOAD="$shim" "$helper" sizes 0 5000
	) >"$work/out" 2>"$work/err"
}
suffixed alive
verify "a %p name that a living process has: a suffix" eval 'grep -qE "${prefix}n[0-9]+\.2: " "$work/err" && out_is "5000 region"'
suffixed dead
verify "a %p name of a dead process: replaced" eval 'grep -qE "${prefix}n[0-9]+: " "$work/err" && out_is "5000 region"'
while ! nothing_left; do read -r -t 0.02 <> <(:) || true; done # the first holder's input has ended
verify "nothing is left of either" nothing_left

# ---- no room ------------------------------------------------------------------------------------

run SHMBIND_SIZE=1M SHMBIND_PLACE=size=4K.. SHMBIND_STATS="$work/full.json" -- fill 50000 40
verify "full, fallback (default): the ordinary heap serves the rest" out_is 'region heap -'
verify "and it is said once" [ "$(grep -c 'is full' "$work/err")" = 1 ]
verify "and counted" [ "$(jq '.fallbacks >= 20 and .fallbacks <= 30' "$work/full.json")" = true ]
run SHMBIND_SIZE=1M SHMBIND_PLACE=size=4K.. SHMBIND_FULL=fallback SHMBIND_LOG=0 -- fill 50000 40
verify "full, fallback, SHMBIND_LOG=0: silent" eval 'silent && out_is "region heap -"'
run SHMBIND_SIZE=1M SHMBIND_PLACE=size=4K.. SHMBIND_FULL=enomem -- fill 50000 40
verify "full, enomem: refused" eval 'out_is "region - refused" && [ $status = 0 ]'
run SHMBIND_SIZE=1M SHMBIND_PLACE=size=4K.. SHMBIND_FULL=abort -- fill 50000 40
verify "full, abort: SIGABRT, and the reason with the region's name" eval '[ $status = 134 ] && says "${prefix}r is full"'
rm -f /dev/shm${prefix}r

if unshare -m true 2>/dev/null; then
	cat >"$work/small-shm" <<-END
		mount -t tmpfs -o size=16m tmpfs /dev/shm || exit 99
		env SHMBIND_REGION=${prefix}r SHMBIND_PLACE=size=4K.. LD_PRELOAD=$shim $helper fill 50000 1000
	END
	status=0
	unshare -m sh "$work/small-shm" >"$work/out" 2>"$work/err" || status=$?
	verify "/dev/shm of 16 MiB full: the ordinary heap serves the rest, no signal" eval 'out_is "region heap -" && [ $status = 0 ]'
else
	echo "note: a full /dev/shm: not verified, no mount namespace is to be had here"
fi
status=0
(ulimit -v 8000000 && SHMBIND_REGION=${prefix}r SHMBIND_PLACE=all LD_PRELOAD=$shim "$helper" sizes 3 5000) >"$work/out" 2>"$work/err" || status=$?
verify "8 GB of address space: a smaller region, or none; the program runs" eval '[ $status = 3 ] && one_line'
status=0
(ulimit -f 1000 && SHMBIND_REGION=${prefix}r SHMBIND_PLACE=all LD_PRELOAD=$shim "$helper" sizes 3 5000) >"$work/out" 2>"$work/err" || status=$?
verify "files of at most 1 MB: unplaced, says so, no signal" eval '[ $status = 3 ] && one_line && out_is "5000 heap"'
status=0
(ulimit -n 16 && SHMBIND_LOG=0 SHMBIND_REGION=${prefix}r SHMBIND_PLACE=all LD_PRELOAD=$shim "$helper" sizes 3 5000) >"$work/out" 2>"$work/err" || status=$?
verify "16 descriptors: placed all the same" eval '[ $status = 3 ] && silent && out_is "5000 region" && nothing_left'

# ---- statistics ------------------------------------------------------------------------------------

rules='size=5900..6100;size=100000'
run SHMBIND_LOG=0 SHMBIND_STATS=stderr SHMBIND_PLACE="$rules" -- count
verify "SHMBIND_STATS=stderr: text, with 107 live blocks" eval 'says "in 107 blocks" && says "region ${prefix}r"'
run SHMBIND_LOG=0 SHMBIND_STATS="$work/text" SHMBIND_PLACE="$rules" -- count
verify "SHMBIND_STATS=FILE: text in the file, nothing on stderr" eval 'silent && grep -q "in 107 blocks" "$work/text"'
run SHMBIND_LOG=0 SHMBIND_STATS="$work/s.json" SHMBIND_PLACE="$rules" -- count
verify "SHMBIND_STATS=FILE.json: jq parses it" jq -e . "$work/s.json" >"$work/parsed"
verify "its counts: 100 of 6144, 7 of 128 KiB" [ "$(jq -c '[(.classes[]|select(.size==6144)|.live),([.classes[].live]|add),.large.blocks,.large.bytes,.fallbacks,.enomem]' "$work/s.json")" = '[100,100,7,917504,0,0]' ]
verify "its sums: live bytes" [ "$(jq .live_bytes "$work/s.json")" = $((100 * 6144 + 917504)) ]
verify "its names: region, program" [ "$(jq -r '.region + " " + .creator.name' "$work/s.json")" = "${prefix}r preload_env" ]
run SHMBIND_LOG=0 SHMBIND_STATS="$work/%e.%p.json" SHMBIND_PLACE="$rules" -- count
verify "%e and %p in the path" [ "$(cd "$work" && ls preload_env.*.json | grep -cE '^preload_env\.[0-9]+\.json$')" = 1 ]
run SHMBIND_LOG=0 SHMBIND_STATS=/no/such/dir/file SHMBIND_PLACE="$rules" -- count
verify "a path that cannot be written: one line that names it, exit status the program's" eval 'one_line && says SHMBIND_STATS=/no/such/dir/file && [ $status = 0 ]'
run SHMBIND_LOG=0 SHMBIND_STATS="$work/p.json" SHMBIND_PLACE="$rules" -- pattern _exit
verify "_exit runs no destructor: no statistics, the region is gone" eval '[ ! -e "$work/p.json" ] && nothing_left'
run SHMBIND_LOG=0 SHMBIND_STATS=stderr SHMBIND_PLACE=all -- reuse "$work/theirs"
verify "SHMBIND_STATS=stderr never writes into a file of the program's that has its descriptor's number" [ ! -s "$work/theirs" ]

# ---- kept ----------------------------------------------------------------------------------------------

finds_pattern() {
	local ref
	ref=$("$tool" blocks ${prefix}r --json | jq -r '[.blocks[] | select(.state == "live" and .size >= 50000 and .size < 65536)][0].ref')
	"$tool" cat ${prefix}r "$ref" | head -1 | grep -qx 'a known pattern, to be found post mortem'
}
for end in return exit _exit quick_exit exec; do
	run SHMBIND_LOG=0 SHMBIND_KEEP=1 SHMBIND_PLACE=all -- pattern $end
	verify "SHMBIND_KEEP=1, $end: the region is there" [ -e /dev/shm${prefix}r ]
	if [ -e /dev/shm${prefix}r ]; then
		verify "  shmbind blocks and cat find the pattern in it" finds_pattern
		verify "  shmbind ls says kept" [ "$("$tool" ls --json | jq -r '.regions[] | select(.name == "'${prefix}r'").owner')" = kept ]
		rm -f /dev/shm${prefix}r
	fi
done
run SHMBIND_LOG=0 SHMBIND_KEEP=0 SHMBIND_PLACE=all -- pattern return
verify "SHMBIND_KEEP=0: it is gone" nothing_left
run SHMBIND_LOG=0 SHMBIND_KEEP=1 SHMBIND_PLACE=all -- sizes 0 5000
run SHMBIND_PLACE=all -- sizes 0 5000
verify "a kept name is not taken over: unplaced, says so" eval 'one_line && out_is "5000 heap" && [ -e /dev/shm${prefix}r ]'
rm -f /dev/shm${prefix}r

# ---- programs that overwrite their environment -----------------------------------------------------------

run SHMBIND_LOG=0 SHMBIND_REGION="${prefix}t%p" SHMBIND_STATS="$work/title.json" SHMBIND_PLACE=all -- title ${prefix}t
verify "a program that overwrites its environment (setproctitle): its child's region has the right name" eval 'out_is "its own" && silent'
verify "and its statistics go where they should, and nowhere else" eval '[ -s "$work/title.json" ] && ! compgen -G "$work/xxx*" >/dev/null'
verify "nothing is left" nothing_left

rows_hold
