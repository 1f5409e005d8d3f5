#!/bin/bash
# shmbind profile: what a program of known requests allocates is told exactly,
# however it ends; the rules that come of it choose the same requests; the
# program notices nothing.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helper=$PWD/$BUILD/tests/helpers/profile
name=${prefix}profile

# profile ARG...: $status, $work/out, $work/err, $work/r.json, $work/f.rules
profile() {
	status=0
	rm -f "$work/r.json" "$work/f.rules"
	(cd "$work" && "$tool" profile --json --report r.json --output f.rules --min-bytes 0 "$@" >out 2>err; exit $?) 2>/dev/null || status=$?
}
# tells FUNCTION FIELD...: of its one site
tells() { jq -c --arg f "$1" "[.sites[] | select(.function == \$f) | [$(printf '.%s,' "${@:2}" | sed 's/,$//')]]" "$work/r.json"; }
whole() { jq -c "$1" "$work/r.json"; }

figures=(requests bytes resized peak at_peak live live_bytes least most)
# row TEXT FUNCTION EXPECTED STEP...: EXPECTED are the figures
row() {
	local got
	profile -- "$helper" "${@:4}"
	got=$(tells "$2" "${figures[@]}" 2>&1) || got="no report: $got"
	rows=$((rows + 1))
	if [ "$got" = "[[$3]]" ] && [ $status = 0 ] && [ ! -s "$work/out" ]; then
		echo "ok   $1: $2 $3"
	else
		wrong "$1: $2 should be [[$3]], is $got (status $status)" "$(head -2 "$work/err")"
	fi
}

# ---- what is counted -------------------------------------------------------------------

row 'malloc, freed in part' ask_malloc 5,4000,0,3000,3000,3,2000,500,1000 'malloc/1000*3' 'free*2' 'malloc/500*2'
row 'calloc: the product' ask_calloc 2,200,0,200,200,2,200,100,100 'calloc/100*2'
row 'memalign' ask_memalign 1,1000,0,1000,1000,0,0,1000,1000 memalign/1000 free
row 'posix_memalign' ask_posix 1,100,0,100,100,1,100,100,100 posix/100
row 'pvalloc: whole pages' ask_pvalloc 1,8192,0,8192,8192,1,8192,8192,8192 pvalloc/5000
row 'strdup: libc asks' __strdup 2,154,0,154,154,1,77,77,77 'dup/77*2' free
row 'realloc of NULL' ask_realloc 1,50,0,50,50,1,50,50,50 realloc/50
row 'realloc: one block ends, another begins, of who resizes' ask_realloc 3,600,2,300,300,1,300,100,300 realloc/100 resize/200 resize/300
row 'realloc of what another site made' ask_realloc 1,500,1,500,500,1,500,500,500 malloc/100 resize/500
row '  which has it no more' ask_malloc 1,100,0,100,0,0,0,100,100 malloc/100 resize/500
row 'realloc to 0 frees' ask_malloc 1,100,0,100,100,0,0,100,100 malloc/100 tozero
row 'a request that fails is none' ask_malloc 1,10,0,10,10,0,0,10,10 toomuch
row '  and a block that cannot grow stays' ask_realloc 1,10,0,10,10,0,0,10,10 realloc/10 toomuch free
row 'size 0' ask_malloc 3,0,0,0,0,3,0,0,0 'malloc/0*3'
row 'the peak of the program is not that of the site' ask_calloc 1,500,0,500,0,0,0,500,500 malloc/1000 calloc/500 free malloc/2000
row '  but what others had then' ask_malloc 2,3000,0,3000,3000,0,0,1000,2000 malloc/1000 calloc/500 free malloc/2000 'free*2'
row '100000 blocks at once' ask_malloc 100000,1000000,0,1000000,1000000,0,0,10,10 'malloc/10*100000' 'free*100000'
row '  and in the other order' ask_malloc 200000,1000000,0,500000,500000,0,0,5,5 'malloc/5*50000' 'free*50000' 'malloc/5*100000' 'free*100000' 'malloc/5*50000' 'free*50000'
profile -- "$helper" 'random/16*400000'
verify 'made and freed at random: none lost from sight' [ "$(tells ask_malloc live live_bytes 'requests > 200000' 'peak > 30000')" = '[[0,0,true,true]]' ]
profile -- "$helper" 'churn/100*4'
verify 'four threads, each frees what another made: 40000 requests, none left' [ "$(tells ask_churn requests bytes live live_bytes)" = '[[40000,4000000,0,0]]' ]
verify '  of 64 blocks and four more at most' [ "$(jq '.sites[] | select(.function == "ask_churn") | .peak <= 6800 and .peak >= 100' "$work/r.json")" = true ]

profile -- "$helper" malloc/300 sleep/60 free 'calloc/20' free
verify 'lifetimes: of a block that lived 60 ms, and of one freed at once' \
	[ "$(tells ask_malloc 'p50_ns > 55000000')$(tells ask_calloc 'p50_ns < 40000000')" = '[[true]][[true]]' ]
profile -- "$helper" 'malloc/300*10' sleep/60 'free*5' 'calloc/300*10' 'free*4'
verify '  live at the end is longer than any' \
	[ "$(tells ask_malloc 'p50_ns > 55000000' p90_ns)$(tells ask_calloc p50_ns p99_ns)" = '[[true,null]][[null,null]]' ]

profile -- "$helper" 'malloc/1000*3' 'calloc/500*4'
verify 'a module is the sum of its sites' [ "$(jq -c '[.modules[] | select(.module | endswith("/helpers/profile")) | [.requests, .bytes, .peak, .at_peak, .least, .most]]' "$work/r.json")" = '[[7,5000,5000,5000,500,1000]]' ]
verify '  the process that of its modules' [ "$(whole '.processes[0].requests == ([.modules[].requests] | add) and .requests == ([.sites[].requests] | add)')" = true ]
verify '  the source line' [ "$(tells ask_malloc source)" = "[[\"profile.c:$(grep -n 'kept(malloc(n))' tests/helpers/profile.c | head -1 | cut -d: -f1)\"]]" ]
verify '  the command' [ "$(whole .command)" = "[\"$helper\",\"malloc/1000*3\",\"calloc/500*4\"]" ]

# ---- however it ends ------------------------------------------------------------------------

ends() { # ends STATUS STEP
	profile -- "$helper" 'malloc/1000*3' free "$2"
	verify "$2: status $1, all is told" [ "$status $(tells ask_malloc requests live_bytes)" = "$1 [[3,2000]]" ]
}
ends 5 _exit
ends 134 abort
ends 137 kill
profile -- sh -c "'$helper' malloc/1000 kill; exit 3"
verify 'a child is killed: the command goes on, both are told' [ "$status $(tells ask_malloc requests)" = '3 [[1]]' ]
profile -- "$helper" malloc/1000 close 'malloc/1000*2'
verify 'a program that closes all its descriptors' [ "$status $(tells ask_malloc requests)" = '0 [[3]]' ]
rm -f "$work/fifo" && mkfifo "$work/fifo"
(cd "$work" && exec "$tool" profile --json --report r.json --output f.rules -- sh -c 'echo ready; exec sleep 60' >fifo 2>err) &
pid=$!
exec 7<"$work/fifo"
read -r -u 7 -t 60 word
kill -TERM $pid
status=0
wait $pid 2>/dev/null || status=$?
exec 7<&-
verify 'SIGTERM to the tool: the command ends by it, and the report is there' [ "$status $word $(whole '.requests > 0')" = '143 ready true' ]

# ---- processes ---------------------------------------------------------------------------------

profile -- "$helper" 'malloc/100*2' 'fork:malloc/200*5'
verify 'fork: the child has a record of its own; sums, and the greater peak' [ "$(tells ask_malloc requests bytes peak live)" = '[[7,1200,1000,7]]' ]
verify '  of two processes, one the parent of the other' [ "$(whole '[.processes[].requests] | sort')$(whole '.processes[1].parent == .processes[0].pid or .processes[0].parent == .processes[1].pid')" = '[2,5]true' ]
profile -- "$helper" malloc/100 inherit
verify '  what it frees of its parent stays its parent'"'"'s' [ "$(tells ask_malloc requests bytes live live_bytes peak)" = '[[2,177,2,177,100]]' ]
profile -- "$helper" malloc/100 'fork:fork:fork:malloc/10*3'
verify '  a child of a child of a child' [ "$(tells ask_malloc requests bytes)" = '[[4,130]]' ]
profile -- "$helper" malloc/100 'raw:malloc/200*5' free
verify 'a child by clone(2), without handlers' [ "$(tells ask_malloc requests bytes peak live)" = '[[6,1100,1000,5]]' ]
profile -- "$helper" malloc/100 vfork:malloc/200 'free*2'
verify 'vfork: the memory is the parent'"'"'s, and so is the record' [ "$(tells ask_malloc requests peak live)$(whole '.processes | length')" = '[[2,300,0]]1' ]
profile -- "$helper" malloc/100 'exec:malloc/100*3'
verify 'exec: the same sites of another process' [ "$(tells ask_malloc requests)" = '[[4]]' ]
profile -- sh -c "'$helper' malloc/1 malloc/1; '$helper' 'malloc/1*3'"
verify 'processes one after the other' [ "$(tells ask_malloc requests)" = '[[5]]' ]
profile --exe 'prof*' -- sh -c "'$helper' 'malloc/1*3'"
verify '--exe: only these' [ "$(whole '[.processes[].executable | split("/")[-1]]')$(tells ask_malloc requests)" = '["profile"][[3]]' ]
if [ "$(id -u)" = 0 ]; then
	profile -- "$helper" malloc/1 chroot
	verify 'a child that cannot make its record: said' [ "$status $(whole .unrecorded) $(tells ask_malloc requests)" = '0 1 [[1]]' ]
	profile -- setpriv --reuid 65534 --clear-groups sh -c 'exec "$@"' sh "$helper" 'malloc/1*3'
	verify 'another user'"'"'s process' [ "$status $(tells ask_malloc requests)" = '0 [[3]]' ]
fi

# ---- odd sites -------------------------------------------------------------------------------------

profile -- "$helper" 'code/100*3'
verify 'code that lies in no object: together, without a rule' [ "$(jq -c '[.sites[] | select(.module == null) | [.requests, .bytes, .offset, .rule]]' "$work/r.json")" = '[[3,300,null,null]]' ]
profile -- "$helper" many
verify 'more sites than there is room for: the rest together, none missed' \
	[ "$(jq -c '[(.sites | length), ([.sites[].requests] | add), (.sites[0] | [.module, .requests])]' "$work/r.json")" = '[16383,20000,[null,3618]]' ]
verify '  at most 20 rules of them' [ "$(grep -c '^[^#]' "$work/f.rules")" = 20 ]
for m in one two; do
	$CC -x c -O1 -fno-builtin -fPIC -shared -DNAME=$m -Wall -Werror tests/helpers/preload_module.inc -o "$work/lib$m.so"
done
profile -- "$helper" 'module/100*5' 'deep/100*3'
verify 'a module that is unloaded and loaded again: one site' [ "$(tells one_get requests bytes live)" = '[[8,800,8]]' ]
verify '  which RTLD_DEEPBIND does not hide' grep -q '^one_get: site=libone.so+0x' "$work/f.rules"
profile -- "$helper" 'signals*100'
verify 'handlers that allocate in the middle: the program goes on, what is missed is told' \
	[ "$status $(jq -c '[.sites[] | select(.function == "ask_malloc")][0].requests > 100000' "$work/r.json") $(whole '.interrupted < 5000')" = '0 true true' ]

# ---- the rules ----------------------------------------------------------------------------------------

# replay COMMAND...: what each rule of f.rules decided, [name, hits] and sorted, as the profile has it and as it was
replay() {
	expected=$(jq -c '[(.sites + .modules)[] | select(.rule != null) | [.rule, .requests]] | sort' "$work/r.json")
	rm -f "$work/s.json"
	(cd "$work" && SHMBIND_REGION=$name "$tool" run --log 1 --rules f.rules --stats s.json -- "$@" >out 2>err) || true
	got=$(jq -c '[.rules[] | [(.rule | split(":")[0]), .hits]] | sort' "$work/s.json" 2>&1) || true
}
steps=('malloc/1000*10' 'free*5' 'calloc/70000*3' 'memalign/300*2' 'realloc/10' 'resize/20' 'posix/100*4' pvalloc/1 'dup/10*3')
profile -- "$helper" "${steps[@]}"
replay "$helper" "${steps[@]}"
verify "the rules choose the same requests: $expected" [ "$got" = "$expected" ]
verify '  seven of them' [ "$(jq length <<<"$expected")" = 7 ]
verify '  each named after its function' [ "$(jq -c '[.sites[] | select(.function | startswith("ask_")) | .rule == .function] | unique' "$work/r.json")" = '[true]' ]
(cd "$work" && "$tool" run --log 0 --region $name --rules f.rules --keep -- "$helper" "${steps[@]}") || true
verify '  and these blocks lie in the region: what was live at the end' \
	[ "$("$tool" blocks $name --json | jq '[.blocks[] | select(.state == "live")] | length')" = "$(jq '[.sites[] | select(.rule != null) | .live] | add' "$work/r.json")" ]
rm -f /dev/shm$name
profile --by module -- "$helper" "${steps[@]}"
replay "$helper" "${steps[@]}"
verify "--by module: a rule for each: $expected" [ "$got $(grep -c '^[^#].*: module=' "$work/f.rules")" = "$expected $(jq length <<<"$expected")" ]
profile --top 2 -- "$helper" "${steps[@]}"
verify '--top 2: the two with the greatest peaks' [ "$(grep -o '^[^#: ]*: ' "$work/f.rules" | tr -d '\n')" = 'ask_calloc: ask_malloc: ' ]
replay "$helper" "${steps[@]}"
verify "  $expected" [ "$got" = "$expected" ]
profile --min-bytes 4K -- "$helper" "${steps[@]}"
verify '--min-bytes: those with such a peak' [ "$(grep -o '^[^#: ]*: ' "$work/f.rules" | tr -d '\n')" = 'ask_calloc: ask_malloc: ask_pvalloc: ' ]
profile --top 64 -- "$helper" many
replay "$helper" many
verify '--top 64: as many rules as the shim takes, in a file that it takes' [ "$(wc -c <"$work/f.rules" | awk '{print $1 <= 16382}') $(jq length <<<"$expected") $got" = "1 64 $expected" ]
odd="$work/odd; [x] d*r" && mkdir -p "$odd/a" "$odd/b"
cp "$helper" "$odd/pro file;[1]"
profile -- "$odd/pro file;[1]" 'malloc/1000*3'
replay "$odd/pro file;[1]" 'malloc/1000*3'
verify 'a file whose name no rule can have as it is' [ "$(jq -c '[.[] | select(.[0] == "ask_malloc")]' <<<"$got") $got" = "[[\"ask_malloc\",3]] $expected" ]
cp "$helper" "$odd/a/same" && cp "$helper" "$odd/b/same"
profile -- sh -c '"$1"/a/same malloc/1000; "$1"/b/same "calloc/1000*2"; true' sh "$odd"
verify 'two files of one name: their rules have the path' \
	[ "$(grep -c "^ask_[a-z]*: site=.*/odd???x]?d?r/[ab]/same+0x" "$work/f.rules")" = 2 ]
cat >"$work/list.cc" <<-'END'
	#include <new>
	#include <vector>
	namespace { struct list { std::vector<char> v; __attribute__((noipa)) void grow(std::size_t n) { v.reserve(n); asm volatile("" ::"r"(v.data()) : "memory"); } }; }
	__attribute__((noipa)) static void *many(std::size_t n) { void *p = new char[n]; asm volatile("" : "+r"(p)); return p; }
	__attribute__((noipa)) static void *wide(std::size_t n) { void *p = ::operator new(n, std::align_val_t(64)); asm volatile("" : "+r"(p)); return p; }
	int main() { list l; l.grow(12345); for (int i = 0; i < 3; i++) many(1000); ::operator delete(wide(2000), std::align_val_t(64)); }
END
g++ -std=c++17 -g -O2 "$work/list.cc" -o "$work/list"
profile -- "$work/list"
verify 'C++: the code that says new is the site' [ "$(tells 'many(unsigned long)' requests bytes live) $(tells 'wide(unsigned long)' requests bytes live)" = '[[3,3000,3]] [[1,2000,0]]' ]
verify '  with its readable name' [ "$(jq -c '[.sites[] | select(.least == 12345) | .function]' "$work/r.json")" = '["(anonymous namespace)::list::grow(unsigned long)"]' ]
verify '  and a rule named after the last word of it' grep -qE '^grow: site=list\+0x[0-9a-f]+$' "$work/f.rules"
replay "$work/list"
verify "  $expected" [ "$got" = "$expected" ]

# ---- the table --------------------------------------------------------------------------------------------

status=0
(cd "$work" && "$tool" profile -- "$helper" 'malloc/10000*3' 'calloc/5000*4' free >out 2>err) || status=$?
verify 'without options: the table on standard error' grep -qE '^29.3 KiB +29.3 KiB +29.3 KiB +3 +9.8 KiB +3 +end +end +profile\+0x[0-9a-f]+ +ask_malloc, profile.c:[0-9]+$' "$work/err"
verify '  and the sums' grep -qE '^1 process: [0-9]+ requests, [0-9.]+ KiB in all; peak 48.8 KiB' "$work/err"
verify '  the rules in profile.rules' [ "$(grep -o '^[^#: ]*: ' "$work/profile.rules" | tr -d '\n')" = 'ask_malloc: ask_calloc: ' ]
verify '  with what is known of each' grep -q '^# 4 requests of 4.9 KiB, 0 by realloc, 19.5 KiB in all$' "$work/profile.rules"
verify '  and the command' grep -qF "# Written by shmbind profile -- $helper malloc/10000*3 calloc/5000*4 free" "$work/profile.rules"
(cd "$work" && "$tool" profile --report r.txt -- "$helper" 'malloc/5000*3' >out 2>err)
verify '  which the next replaces' [ "$(grep -o '^[^#: ]*: ' "$work/profile.rules" | tr -d '\n')" = 'ask_malloc: ' ]
verify '--report: the table is there' grep -qE '^14.6 KiB .* ask_malloc' "$work/r.txt"
echo 'mine: size=1M..' >"$work/profile.rules"
status=0
(cd "$work" && "$tool" profile -- "$helper" malloc/5000 >out 2>err) || status=$?
verify 'a file of that name that is not ours: 1, says so, it stays' eval '[ $status = 1 ] && grep -q "profile.rules: there is such a file already" "$work/err" && grep -q mine "$work/profile.rules"'
(cd "$work" && "$tool" profile --output profile.rules -- "$helper" malloc/5000 >out 2>err)
verify '  but where --output names it' grep -q '^ask_malloc' "$work/profile.rules"

# ---- nothing to tell, and mistakes ----------------------------------------------------------------------------

rm -f "$work/f.rules"
status=0
(cd "$work" && "$tool" profile --output f.rules -- "$helper" malloc/10 >out 2>err) || status=$?
verify 'no site with --min-bytes: said, no file' eval '[ $status = 0 ] && grep -q "no rules: no site had as much as --min-bytes" "$work/err" && [ ! -e "$work/f.rules" ]'
echo 'int main(void) { return 4; }' >"$work/static.c"
$CC -static "$work/static.c" -o "$work/static"
profile -- "$work/static"
verify 'a static program: said, its status, no files' eval '[ $status = 4 ] && grep -q "nothing was recorded" "$work/err" && [ ! -e "$work/f.rules" ] && [ ! -e "$work/r.json" ]'
profile --exe nobody -- "$helper" malloc/1
verify '  of a command that ends with 0: 1' eval '[ $status = 1 ] && grep -q "nothing was recorded" "$work/err"'
profile -- "$work/no-such-command"
verify 'no such command: 127, and no more is said' eval '[ $status = 127 ] && [ "$(wc -l <"$work/err")" = 1 ]'
for n in 0 1 42 255; do
	profile -- sh -c "exit $n"
	verify "exit status $n" [ $status = $n ]
done
profile --output /no/such/dir/f -- sh -c 'echo ran'
verify 'a file that cannot be made: 1, before anything runs' eval '[ $status = 1 ] && grep -q "/no/such/dir/f: No such file" "$work/err" && [ ! -s "$work/out" ]'
printf 'old' >"$work/old.rules"
(cd "$work" && "$tool" profile --exe nobody --output old.rules -- true 2>err) || true
verify 'nothing recorded: a file that was there stays' [ "$(cat "$work/old.rules")" = old ]

# usage NAMED ARG...: exit status 2, the line names it, nothing was run
usage() {
	status=0
	(cd "$work" && "$tool" profile "${@:2}" >out 2>err) || status=$?
	verify "usage: shmbind profile ${*:2}: status 2, names $1" eval '[ $status = 2 ] && grep -qF -e "$named" "$work/err" && [ ! -s "$work/out" ]'
}
for bad in --nonsense --plac=all -x --tops=1 --json=1 --top=0 --top=65 --top=x --top= --top=-1 --min-bytes=x --min-bytes=1X --min-bytes=1KK --min-bytes= \
	--min-bytes=99999999999999999999 --min-bytes=99999999999999T --by=thread --by= --output= --report=; do
	named=$bad usage "$bad" "$bad" -- echo ran
done
for option in --output --report --by --top --min-bytes --exe --log; do
	named="$option: takes" usage $option $option
done
named='which command?' usage 'the command'
named='which command?' usage 'the command' --
named='which command?' usage 'the command' --top 3
profile -- sh -c 'echo "$@"' - --top x
verify 'what follows the command is the command'"'"'s' [ "$(cat "$work/out")" = '--top x' ]

# ---- the shim's key -----------------------------------------------------------------------------------------------

under() { # under KEY=VALUE...: a program that says hello
	status=0
	env LD_PRELOAD="$shim" "$@" /bin/echo hello >"$work/out" 2>"$work/err" || status=$?
}
for bad in relative '' "/$(printf 'x%.0s' {1..5000})"; do
	under SHMBIND_PROFILE="$bad"
	verify "SHMBIND_PROFILE=${bad::20}: one line that names it, and the program runs" \
		eval '[ "$status $(cat "$work/out")" = "0 hello" ] && [ "$(wc -l <"$work/err")" = 1 ] && grep -qF "SHMBIND_PROFILE=${bad::200}: not the whole path of a directory" "$work/err"'
done
for bad in /no/such/dir /etc/passwd; do
	under SHMBIND_PROFILE="$bad"
	verify "SHMBIND_PROFILE=$bad: said, and the program runs" \
		eval '[ "$status $(cat "$work/out")" = "0 hello" ] && [ "$(cat "$work/err")" = "shmbind: profile: no file can be made in $bad; nothing is recorded" ]'
	under SHMBIND_PROFILE="$bad" SHMBIND_LOG=0
	verify '  with SHMBIND_LOG=0 not' [ ! -s "$work/err" ]
done
mkdir "$work/d"
under SHMBIND_PROFILE="$work/d" SHMBIND_LOG=2 SHMBIND_PLACE=all SHMBIND_REGION=$name
verify 'SHMBIND_LOG=2: a line; nothing is placed' eval 'grep -q "^shmbind: profile: nothing is placed; recording in $work/d$" "$work/err" && [ ! -e /dev/shm$name ]'
verify '  a record of one process' [ "$(ls "$work/d" | wc -l)" = 1 ]
under SHMBIND_PROFILE="$work/d"
verify '  without it: nothing is said' [ ! -s "$work/err" ]
status=0
(ulimit -f 100; LD_PRELOAD=$shim SHMBIND_PROFILE=$work/d exec /bin/echo hello) >"$work/out" 2>"$work/err" || status=$?
verify 'a limit on the size of files: said, and the program runs' eval '[ "$status $(cat "$work/out")" = "0 hello" ] && grep -q "profile: no file can be made in" "$work/err"'
if unshare -m true 2>/dev/null; then
	status=0
	for size in 4k 16k 64k 1m; do
		unshare -m sh -c 'mount -t tmpfs -o size=$1 none "$2" && SHMBIND_LOG=0 SHMBIND_PROFILE=$2 LD_PRELOAD=$3 exec "$4" many "malloc/1000*1000"' \
			sh $size "$work/d" "$shim" "$helper" || status=$?
	done
	verify 'a shm directory that is full, or is so soon: the program runs' [ $status = 0 ]
else
	echo "note: no mount namespaces here: a full shm directory was not tried"
fi

# ---- what is left ----------------------------------------------------------------------------------------------------

stale=/dev/shm/shmbind-profile.test-$$-stale held=/dev/shm/shmbind-profile.test-$$-held
mkdir $stale $held && touch $stale/1.2 $held/1.2
exec 8<$held
flock 8
profile -- "$helper" malloc/1
verify 'what a killed tool left is removed by the next, what a living one holds is not' eval '[ ! -e $stale ] && [ -e $held/1.2 ]'
exec 8<&-
rm -rf $held
profile -- sh -c 'ls -d "$SHMBIND_PROFILE"'
verify 'the directory is gone at the end' eval '[ -s "$work/out" ] && [ ! -e "$(cat "$work/out")" ]'

# ---- strangers' records ------------------------------------------------------------------------------------------------

cat >"$work/strange.py" <<-'END'
	import os, random, struct
	dir = os.environ["SHMBIND_PROFILE"]
	good = open(os.path.join(dir, os.listdir(dir)[0]), "rb").read(2 << 20)
	random.seed(1)
	for i in range(60):
	    bad = bytearray(good)
	    for _ in range(random.choice([1, 10, 1000])):
	        at = random.randrange(random.choice([600, 8192, len(bad)])) & ~7 # the header is what is believed most
	        if at >= 8: bad[at:at + 8] = random.choice([b"\xff" * 8, os.urandom(8), struct.pack("<II", 3, 70)])
	    open(f"{dir}/bad{i}", "wb").write(bad[:random.choice([len(bad), 100, 5000, 200000])])
	open(dir + "/empty", "wb")
	os.mkdir(dir + "/directory")
	os.mkfifo(dir + "/fifo")
	os.symlink("/etc/passwd", dir + "/link")
END
(cd "$work" && "$tool" profile --json --report r.json --output f.rules --min-bytes 0 -- /usr/bin/python3 strange.py >out 2>err) && status=0 || status=$?
verify 'records that make no sense: told of, and what makes sense is read' [ "$status $(whole '.unrecorded >= 4 and (.processes | length >= 1)')" = '0 true' ]
(cd "$work" && "$tool" profile -- /usr/bin/python3 strange.py >out 2>err) && status=0 || status=$?
verify '  as a table, too' eval '[ $status = 0 ] && grep -q "of which there is no record" "$work/err"'
verify '  and are removed' [ -z "$(compgen -G '/dev/shm/shmbind-profile.*/directory')" ]

# ---- real programs -----------------------------------------------------------------------------------------------------

# same COMMAND...: what it says, and its status, with the profiler as without
same() {
	local plain=0
	(cd "$work" && "$@" >plain.out 2>/dev/null) || plain=$?
	profile -- "$@"
	verify "$(basename "$1"): the same output and status" eval '[ $status = '$plain' ] && cmp -s "$work/plain.out" "$work/out"'
	verify '  no block lost from sight, and a dozen sites' [ "$(whole '.untracked == 0 and .unrecorded == 0 and (.sites | length > 12)')" = true ]
}
cat >"$work/p.py" <<-'END'
	import hashlib, json, subprocess, sys, threading, zlib
	from multiprocessing import get_context
	def work(n):
	    data = json.dumps([{"n": i, "text": str(i) * 50} for i in range(n)]).encode()
	    return hashlib.sha256(zlib.compress(data)).hexdigest()
	if __name__ == "__main__":
	    threads, out = [], {}
	    for i in range(4):
	        threads.append(threading.Thread(target=lambda i=i: out.__setitem__(i, work(1000 * (i + 1)))))
	    for t in threads: t.start()
	    for t in threads: t.join()
	    print(sorted(out.items()))
	    with get_context("fork").Pool(3) as pool:
	        print(pool.map(work, range(100, 1000, 100)))
	    print(subprocess.run(["sort"], input="b\na\nc\n", text=True, capture_output=True).stdout)
	    sys.exit(7)
END
same /usr/bin/python3 p.py
verify '  of python3, its workers and sort' [ "$(whole '[.processes[].executable | split("/")[-1]] | unique | map(select(startswith("python") or . == "sort")) | length')" = 2 ]
same perl -e 'my %h; $h{$_ % 1000} .= "x" x ($_ % 77) for 1 .. 100000; print join ",", map { length $h{$_} } sort keys %h'
(cd "$work" && git init -q repo && cd repo && git config user.email a@b && git config user.name a &&
	for i in 1 2 3; do seq $((i * 10000)) >f && git add f && git commit -qm "number $i" || exit 1; done)
same git -C repo log --stat -p

# ---- what the documents show ---------------------------------------------------------------------------------------------

# shown TEXT SCRIPT: it is run, in a directory of its own
shown() {
	rm -rf "$work/shown" && mkdir "$work/shown"
	seq 50000 >"$work/shown/numbers"
	status=0
	(cd "$work/shown" && PATH=${tool%/*}:$PATH SHMBIND_REGION=$name bash -e "$2" >"$work/out" 2>"$work/err") || status=$?
	verify "$1: $(wc -l <"$2") lines" [ $status = 0 ]
	verify '  the table has what liblzma allocates' grep -qE '^ *[0-9.]+ MiB +[0-9.]+ MiB .* liblzma.so.5\+0x[0-9a-f]+ ' "$work/err"
	verify '  with rules for it' grep -qE '^liblzma[^:]*: site=liblzma.so.5\+0x[0-9a-f]+$' "$work/shown/xz.rules"
}
sed -n '/^## Which allocations/,/^## /p' README.md | sed -n '/^```sh$/,/^```$/p' | sed '1d;$d' >"$work/readme.sh"
shown 'the commands of README.md' "$work/readme.sh"
verify '  and the rules placed it' grep -qE '^ +1( +[0-9.]+ MiB){3} +0  liblzma[^:]*: site=liblzma' "$work/err"
verify '  the rule shown there has the form of a rule' \
	grep -qxE "$(sed -n 's/^\(liblzma.so.5-\)[0-9a-f]*\(: site=liblzma.so.5+0x\)[0-9a-f]*$/\1HEX\2HEX/p' README.md | sed 's/+/\\+/; s/HEX/[0-9a-f]+/g')" "$work/shown/xz.rules"
grep -E '^\$ shmbind (profile|run .*xz.rules)' docs/man/shmbind.1 | sed 's/^\$ //; s/\\-/-/g' >"$work/page.sh"
shown 'the commands of shmbind(1)' "$work/page.sh"

verify 'at the end nothing is left' nothing_left
rows_hold
