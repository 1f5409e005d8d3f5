#!/bin/bash
# shmbind rules: shows the rules of a running program, changes them from
# outside, switches them off and on. Then what is counted of each rule, live
# and peak, against what the program says it has.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helper=$PWD/$BUILD/tests/helpers/preload_change

# start RULES [KEY=VALUE...]: the program; its region is $name
number=0
start() {
	number=$((number + 1))
	name=$prefix$number
	rm -f "$work/in" "$work/out" && mkfifo "$work/in" "$work/out"
	env SHMBIND_LOG=0 SHMBIND_REGION=$name SHMBIND_PLACE="$1" "${@:2}" LD_PRELOAD="$shim" "$helper" <"$work/in" >"$work/out" 2>"$work/said" &
	pid=$!
	exec 8>"$work/in" 9<"$work/out"
	tell drop 0
}
end() {
	exec 8>&- 9<&-
	wait $pid
}
tell() { # tell LINE...: $placed blocks of it in the region, $usable bytes
	echo "$*" >&8
	read -r -u 9 -t 60 placed usable
}
rules() { "$tool" rules $name "$@" >"$work/text" 2>"$work/err"; } # rules OPTION...
of() { "$tool" rules $name --json | jq -c "$1"; }                 # of FILTER
is() { # is FILTER VALUE
	local was
	was=$(of "$1")
	[ "$was" = "$2" ] || { echo "     $1: $was, not $2"; return 1; }
}
takes() { tell take $1 1 && [ "$placed" = $2 ]; }                    # takes SIZE 0|1: is the next one placed?
refused() { # refused TEXT OPTION...
	local before
	before=$(of '[.generation, .rules]')
	! rules "${@:2}" && grep -qF -e "$1" "$work/err" && [ "$(of '[.generation, .rules]')" = "$before" ]
}

# ---- changing ------------------------------------------------------------------------------

start 'small: size=..1000'
verify "what is in force, at first" is '[.generation, .rules_off, .rules[].rule]' '[1,false,"small: size=..1000"]'
rules
verify "and as a table" grep -qE '^ +hits +bytes +live +peak +fallbacks +rule$' "$work/text"
verify "placed" takes 100 1
verify "and not placed" takes 5000 0
rules --off
verify "off: the very next is not placed" takes 100 0
verify "nor any other size" takes 1000 0
verify "it says that they are off" is '[.rules_off, .rules[0].rule]' '[true,"small: size=..1000"]'
rules
verify "and in the text" grep -q 'the rules are off' "$work/text"
rules --on
verify "on: the very next is placed" takes 100 1
rules --set 'big: size=4K..;  small: size=..1000'
verify "other rules: from the next on" takes 5000 1
verify "large blocks, too" takes 100000 1
verify "a rule that stays" takes 100 1
verify "in their order, as they were written" is '[.rules[].rule]' '["big: size=4K..","small: size=..1000"]'
verify "what stays goes on counting" is '.rules[1] | [.hits, .live_blocks]' '[3,3]'
rules --set='!size=..1000;all'
verify "the same with a =" takes 2000 1
verify "kept out" takes 100 0
verify "earlier rules that did something are shown, and that they are no more in force" \
	is '[.rules[] | [.rule, .in_force]]' '[["!size=..1000",true],["all",true],["small: size=..1000",false],["big: size=4K..",false]]'
printf '# a file\nsize=3000\n' >"$work/rules"
rules --file "$work/rules"
verify "a file" takes 3000 1
verify "and nothing else" takes 2000 0
rules --file - <<<'size=2000'
verify "standard input" takes 2000 1
tell drop 100
verify "all of it is freed" [ "$placed" = 8 ]
verify "and nothing lives" is '[.rules[].live] | add' 0
end

# ---- what is refused ---------------------------------------------------------------------------

start 'size=..1000'
verify "a rule that is none, by name" refused 'no such rule: "sise=3"; nothing was changed' --set 'size=4K..;sise=3'
verify "a range that is empty" refused '"size=5..4"' --set 'size=5..4'
verify "65 rules" refused '"all"' --set "$(printf 'size=%d;' {1..64})all"
verify "no rule" refused 'no rule in it' --set ' ; '
verify "a comment only" refused 'no rule in it' --set '# all'
verify "16 KiB" refused '16 KiB and more' --set "$(printf '#%20000s' x)"
verify "no such file" refused 'No such file' --file "$work/nothing"
printf 'all\0all' >"$work/nul"
verify "a file with a NUL" refused 'a NUL in it' --file "$work/nul"
verify "an unknown option" refused 'no such option' --sett all
verify "two at once" refused 'one of' --on --off
verify "an option without its value" refused 'needs a value' --set
verify "and the program goes on as it did" eval 'takes 100 1 && takes 5000 0'
end
mkfifo "$work/hold" "$work/ready"
"$BUILD/tests/helpers/preload_region" arena ${prefix}plain wait <"$work/hold" >"$work/ready" &
plain=$!
exec 7>"$work/hold" 6<"$work/ready"
while read -r -u 6 -t 60 word && [ "$word" != ready ]; do :; done
name=${prefix}plain
verify "a region without a program that has rules" eval '! rules && grep -q "no program with rules" "$work/err"'
verify "the same, to change them" eval '! rules --set all && grep -q "no program with rules" "$work/err"'
exec 7>&- 6<&-
wait $plain
name=${prefix}none
verify "no region" eval '! rules --off && grep -q "No such file" "$work/err"'

# ---- who asks, after a change -----------------------------------------------------------------

start 'size=100000000..'
rules --set 'module=preload_change'
verify "module=: of the program" takes 100 1
rules --set 'module=libc.so.6'
verify "not of another" takes 100 0
rules --set 'module=nothing*;site=take'
verify "site=: a function of the program" takes 100 1
tell other 100 1
verify "not in another" [ "$placed" = 0 ]
rules --set 'site=other;site=strdup'
verify "the other" eval 'tell other 100 1 && [ $placed = 1 ] && takes 100 0'
rules --set 'thread=worker'
tell named worker 100 3
verify "thread=" [ "$placed" = 3 ]
verify "not in this one" takes 100 0
"$tool" save $name "$work/saved" >/dev/null
verify "rules of a saved region, under its path" eval '"$tool" rules "$work/saved" >"$work/text" && grep -qx "region $work/saved: rules, generation [0-9]*" "$work/text"'
rules --set 'size=100 sample=1/2'
verify "sample=" eval 'takes 100 0 && takes 100 1 && takes 100 0 && takes 100 1'
tell drop 100
for ((i = 0; i < 100; i++)); do
	rules --set "size=$((1030 + i));size=..1280 module=never$i"
	takes $((1030 + i)) 1 || break
done
verify "a hundred changes, each the next request's; entries are used again" [ $i = 100 ]
verify "an old rule's blocks do not count for a new one" is '[.rules[] | select(.in_force) | .live_blocks]' '[1,0]'
end

# ---- a thread that does one thing --------------------------------------------------------------

start 'size=..1000'
tell once 64 && tell once 64
for ((i = 0; i < 50; i++)); do
	rules --off
	tell once 64 && [ "$placed" = 0 ] || break
	rules --on
	tell once 64 && [ "$placed" = 1 ] || break
done
verify "a thread that only frees and takes one size: its next malloc, every time" [ $i = 50 ]
end

# ---- under load -----------------------------------------------------------------------------------

start 'all'
tell load 4
for ((i = 0; i < 30; i++)); do
	case $((i % 5)) in
	0) rules --off ;;
	1) rules --on ;;
	2) rules --set 'size=..2000;module=preload_change' ;;
	3) rules --set '!size=..200;thread=preload*;all sample=1/3;big: size=4K..' ;;
	4) rules --set 'all' ;;
	esac || break
	[ $((i % 7)) != 0 ] || "$tool" stats $name >"$work/text" || break
done
verify "thirty changes while four threads allocate" [ $i = 30 ]
"$tool" check $name >"$work/err" 2>&1 && status=0 || status=$?
verify "what check says meanwhile" [ $status = 0 ]
tell unload
verify "no byte of theirs was changed" [ "$placed" = 0 ]
rules --set 'all'
verify "and the last rules are followed" takes 100 1
verify "no process lags behind" is '[.processes[] | .generation] == [.generation]' true
tell drop 1
verify "nothing lives after that but what libc keeps of threads" is '[.rules[].live] | add <= 4096' true
"$tool" check $name >"$work/text" 2>&1 && status=0 || status=$?
verify "check: clean" [ $status = 0 ]
end

# ---- setters that are killed, and several at once ---------------------------------------------------

start 'size=..1000'
for ((i = 0; i < 40; i++)); do
	"$tool" rules $name --set "size=..1000;all size=$((3000 + i))" 2>/dev/null &
	sleep 0.00$((i % 10))
	{ kill -KILL $! && wait $! || true; } 2>/dev/null
	takes 100 1 || break
done
verify "forty that are killed: the program never is without its rules" [ $i = 40 ]
verify "and the next one is heard" eval 'rules --set size=7000 && takes 7000 1 && takes 100 0'
for i in 1 2 3 4 5 6; do
	"$tool" rules $name --set "size=700$i" 2>>"$work/several" &
	several[i]=$!
done
for i in 1 2 3 4 5 6; do wait ${several[i]} || break; done
verify "six at once: all of them, one after the other" is '[.rules[] | select(.in_force)] | length' 1
end

# ---- children ----------------------------------------------------------------------------------------

start 'size=..1000' SHMBIND_FORK=share
tell fork
verify "a child that shares" takes 100 1
rules --off
verify "follows" takes 100 0
rules --set 'size=2000'
verify "and again" takes 2000 1
tell drop 1
tell exit # answered by its parent
verify "its parent, too" eval 'takes 2000 1 && takes 100 0'
verify "one set of counters" is '.rules[] | select(.rule == "size=2000") | [.hits, .live_blocks]' '[2,1]'
end
start 'size=..1000' SHMBIND_FORK=copy
rules --set 'size=2000'
verify "the parent's rules" takes 2000 1
tell fork
verify "a child with a copy has no region while its parent has the name" takes 2000 0
tell exit # answered by its parent
verify "its parent's counters are as they were" is '.rules[0] | [.hits, .live_blocks]' '[1,1]'
end

# With tags, beside threads, and where there is room for no more than a packed copy: what a child frees of its copy is
# nobody's count, and what it places itself counts in its own region.
forks_apart() { # forks_apart TEXT
	name=$prefix$pid
	rules --set 'a: site=take size=..5120;b: site=other'
	tell take 5000 100 && tell other 5000 50 && tell other 200000 3
	[ "$1" != threads ] || tell load 2
	tell fork && tell take 5000 10
	verify "copy, $1: a child places by the changed rules" [ "$placed" = 10 ]
	name=$(left | grep -vx "/dev/shm$prefix$pid" | sed 's,/dev/shm,,')
	verify "copy, $1: in its own region, from 0" is '[.rules[] | [.hits, .live_blocks]]' '[[10,10],[0,0]]'
	tell drop 163
	verify "copy, $1: it frees its own and all of its copy" eval '[ $placed = 163 ] && is "[.rules[].live]" "[0,0]"'
	tell other 5000 5
	verify "copy, $1: and takes again" is '[.rules[] | .live_blocks]' '[0,5]'
	rules --off
	verify "copy, $1: its rules are switched off" eval 'tell other 5000 5 && [ $placed = 0 ]'
	name=$prefix$pid
	verify "copy, $1: its parent's are not" is .rules_off false
	tell exit # answered by its parent
	verify "copy, $1: its parent's counts are as they were" is '[.rules[] | .live_blocks]' '[100,53]'
	[ "$1" != threads ] || { tell unload && verify "copy, $1: no byte was changed" [ "$placed" = 0 ]; }
	tell drop 153
	verify "copy, $1: all is freed" eval '[ $placed = 153 ] && is "[.rules[].live]" "[0,0]"'
}
start 'size=..1000' SHMBIND_FORK=copy SHMBIND_REGION=${prefix}%p
forks_apart alone
end
start 'size=..1000' SHMBIND_FORK=copy SHMBIND_REGION=${prefix}%p
forks_apart threads
end
start 'size=..1000' SHMBIND_FORK=copy SHMBIND_REGION=${prefix}%p SHMBIND_SIZE=256M prlimit --as=$((440 << 20)) env
forks_apart packed
end

# ---- what lives, and what did at most -----------------------------------------------------------------

live() { is "[.rules[] | select(.in_force) | .live]" "[$1]"; }
# The peak of rule NUMBER is that or more, but no more than MOST above: what threads' magazines hold.
peak() { # peak NUMBER BYTES MOST
	local is
	is=$(of ".rules[$1].peak")
	[ "$is" -ge "$2" ] && [ "$is" -le $(($2 + $3)) ] || { echo "     peak $is, not from $2 to $(($2 + $3))"; return 1; }
}
pair=$((2 * 65536)) # two magazines of a class are that at most

start 'size=5000'
tell take 5000 100
verify "one rule: a hundred blocks of 5 KiB live" live $usable
verify "peak" peak 0 512000 $pair
tell drop 100
verify "none does after they are freed" live 0
verify "the peak stays" peak 0 512000 $pair
tell take 5000 50
verify "half as many: the peak stays" eval 'live $usable && peak 0 512000 $pair'
end
start 'a: size=..1000;b: size=3000..5000;c: size=64K..'
tell take 1000 100 && a=$usable
tell take 4000 200 && b=$usable
tell take 100000 10 && c=$usable
verify "rules of sizes, large ones too: each has its own" live "$a,$b,$c"
verify "and its own peak" eval 'peak 0 $a $pair && peak 1 $b $((2 * pair)) && peak 2 $c 0'
tell resize 300000
verify "a large one that grows" live "$a,$b,$((c - 131072 + usable))"
more=$((c - 131072 + usable))
verify "and the peak with it" peak 2 $more 131072
tell resize 70000
verify "that shrinks" live "$a,$b,$((c - 131072 + usable))"
verify "the peak stays" peak 2 $more 131072
tell resize 4000
verify "across rules" live "$a,$((b + 4096)),$((c - 131072))"
tell resize 2000
verify "in its place: it still counts there" live "$a,$((b + usable)),$((c - 131072))"
tell drop 10
verify "the other large ones go" live "$a,$b,0"
end
start 'a: site=take size=..5120;b: site=other;c: size=4097..5120'
tell take 5000 100
verify "rules that ask, in one class: the first" live 512000,0,0
tell other 5000 50
verify "the second" live 512000,256000,0
tell align 64 5000 20
verify "the third" live 512000,256000,102400
verify "and their peaks" eval 'peak 0 512000 $pair && peak 1 256000 $pair && peak 2 102400 $pair'
tell drop 170
tell other 5000 100
verify "what the first had comes again as the second's" live 0,512000,0
verify "whose peak that is" eval 'peak 1 512000 $pair && peak 0 512000 $pair && peak 2 102400 $pair'
tell drop 100
for ((i = 0; i < 100; i++)); do tell take 5000 3 && tell other 5000 3 && tell drop 5 || break; done
tell other 5000 1 && tell drop 101
verify "all is freed, a hundred times round" live 0,0,0
verify "and no sum has run away" eval 'peak 0 512000 $pair && peak 1 512000 $pair'
tell take 300000 5
verify "large ones of the rule without a size: none, the first two do not choose them" live 0,0,0
tell other 300000 5
verify "but the second does" live 0,$usable,0
end
start '!size=..2000;sampled: size=..4096 sample=1/4;all'
tell take 4000 400
verify "a sample and the rest, in one class" [ "$(of '.rules[1:] | [.[].live_blocks] | [.[0], add]')" = '[100,'"$(of '.rules[1:] | [.[].live_blocks] | add')"']' ]
tell drop 400
verify "none of the sample is left" is '.rules[1].live_blocks' 0
end
start 'size=5000' SHMBIND_FORK=share
tell take 5000 100
tell fork
tell take 5000 100
verify "a child that shares: its blocks and its parent's" live 1024000
tell drop 150
verify "it frees of both" live 256000
verify "one peak" peak 0 1024000 $((2 * pair))
tell exit # answered by its parent
verify "its end changes nothing" live 256000
end
start 'big: size=64K..' SHMBIND_SIZE=1M
tell take 100000 20
verify "full: what fell back does not live here" is '.rules[0] | .live == (.hits - .fallbacks) * 131072' true
end
start 'class: size=..5120'
tell take 5000 100
rules --set 'one: size=..4800;two: size=4801..5120'
verify "a class that has two rules now: what lives in it is still the earlier one's" \
	is '[.rules[] | [.in_force, .live_blocks]]' '[[true,0],[true,0],[false,100]]'
tell take 5000 10 && tell take 4500 20
verify "the new ones count for theirs" is '[.rules[] | .live_blocks]' '[20,10,100]'
rules --set 'class: size=..5120'
verify "one rule's class again: all that lives in it counts for that" is '.rules[0].live_blocks' 130
tell drop 130
verify "and nothing is left" is '[.rules[].live] | add' 0
end
SHMBIND_STATS=$work/s.json SHMBIND_LOG=0 SHMBIND_REGION=${prefix}exit SHMBIND_PLACE=size=5000 LD_PRELOAD=$shim "$helper" <<<'take 5000 100' >/dev/null
verify "at the exit, too" [ "$(jq -c '.rules[0] | [.live, .peak >= 512000]' "$work/s.json")" = '[512000,true]' ]
verify "no region is left" nothing_left
rows_hold
