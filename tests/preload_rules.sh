#!/bin/bash
# The rules of SHMBIND_PLACE that ask who makes a request: module=, site=,
# thread=, sample=, their negation and their order. Each row says where the
# requests of some known code go. Then what is counted of each rule, in a
# region and in a dry run.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helper=$PWD/$BUILD/tests/helpers/preload_rules
name=/shmb-test-$$-rules

for m in one two; do
	$CC -x c -O1 -fno-builtin -fPIC -shared -DNAME=$m -Wall -Werror tests/helpers/preload_module.inc -o "$work/lib$m.so"
done
cat >"$work/cxx.cc" <<-'END'
	#include <cstddef>
	#include <new>
	extern "C" {
	#define ASKS(how, expression) void *cxx_##how(std::size_t n) { void *p = expression; asm volatile("" : "+r"(p)::"memory"); return p; }
	ASKS(new, ::operator new(n))
	ASKS(array, new char[n])
	ASKS(aligned, ::operator new(n, std::align_val_t(64)))
	ASKS(delete, (::operator delete(::operator new(n)), ::operator new(n)))
	}
END
g++ -std=c++17 -O1 -fno-allocation-dce -fPIC -shared "$work/cxx.cc" -o "$work/libcxx.so"

# The offset behind the first call of FUNCTION in MODULE: what the call returns to.
offset() {
	objdump -d --no-show-raw-insn "$work/lib$1.so" |
		awk -v f="<$2>:" '$2 == f {on = 1} on && was {sub(":", "", $1); print $1; exit} on && /call/ {was = 1}'
}

# row RULES EXPECTED STEP...
row() {
	local got status=0
	rows=$((rows + 1))
	got=$(cd "$work" && SHMBIND_REGION=$name SHMBIND_LOG=0 SHMBIND_PLACE=$1 LD_PRELOAD=$shim "$helper" "$work" "${@:3}" 2>&1) || status=$?
	if [ "$got" = "$2" ] && [ $status = 0 ] && [ ! -e /dev/shm$name ]; then
		echo "ok   $1: ${*:3}: $2"
	else
		wrong "$1: ${*:3}: should be $2" "$got (status $status)"
	fi
}

# ---- who asks ------------------------------------------------------------------------

some=(one.get one.other two.get main)
row 'module=libone.so' 'r r h h' "${some[@]}"
row "module=$work/libtwo.so" 'h h r h' "${some[@]}"
row "module=$work/lib*" 'r r r h' "${some[@]}"
row 'module=lib?ne.so' 'r r h h' "${some[@]}"
row 'module=lib[a-o]*' 'r r h h' "${some[@]}"
row 'module=lib[!a-o]*' 'h h r h' "${some[@]}"
row 'module=*o*.so' 'r r r h' "${some[@]}"
row 'module=*' 'r r r r' "${some[@]}"
row 'module=libone' 'h h h h' "${some[@]}"
row 'module=one.so' 'h h h h' "${some[@]}"
row 'module=LIBONE.so' 'h h h h' "${some[@]}"
row 'module=preload_rules' 'h h h r' "${some[@]}"
row "module=$(readlink -f "$helper")" 'h h h r' "${some[@]}"
row 'module=libc.so.6' 'h h r' one.get main one.dup
row 'module=libone.so' 'h' one.dup
row 'module=libone.so size=4K..' 'r h h' one.get/5000 one.get/4000 two.get/5000
row 'size=..4K module=libone.so' 'h r h' one.get/5000 one.get/4000 two.get/4000
row '!module=libone.so;all' 'h h r r' "${some[@]}"
row '!module=libone.so;size=4K..' 'h h r h' one.get one.get/100 two.get two.get/100
row 'module=libone.so;!all' 'r r h h' "${some[@]}"
row '!all;module=libone.so' 'h h h h' "${some[@]}"
row '!module=libone.so;module=lib*.so' 'h h r h' "${some[@]}"
row 'module=lib*.so;!module=libone.so' 'r r r h' "${some[@]}"
row 'buffers: module=libone.so; rest:size=6K..' 'r h r' one.get two.get two.get/7000
row '!buffers: module=libone.so size=6K..;module=lib*' 'r h r' one.get one.get/7000 two.get/7000

for how in get calloc realloc grow array aligned posix memalign valloc pvalloc start walk held; do
	row 'module=libone.so size=200..' 'r h' one.$how two.$how
done
for how in new array aligned delete; do
	row 'module=libcxx.so' r cxx.$how
	row '!module=libcxx.so;all' h cxx.$how
	row 'module=libstdc++*' h cxx.$how
done
row 'module=libone.so' rhrhrhrhrhrhrhrhrhrh swap
row 'site=two_get' hrhrhrhrhrhrhrhrhrhr swap

# ---- where in it -----------------------------------------------------------------------

one=$(offset one one_get) two=$(offset two two_get)
[ -n "$one" ] && [ -n "$two" ] || { echo "no offsets from objdump"; exit 1; }
row "site=libone.so+0x$one" 'r h h h' "${some[@]}"
row "site=$work/libone.so+0x$one" 'r h h h' "${some[@]}"
row "site=lib*+0x${one^^}" 'r h r h' "${some[@]}"  # the modules are built from the same source
row "site=libone.so+0x0000$one" 'r h h h' "${some[@]}"
row "site=libone.so+0x$(printf %x $((16#$one - 1)))" 'h h h h' "${some[@]}"
row "site=libtwo.so+0x$two;site=libone.so+0x$one" 'r h r h' "${some[@]}"
row "!site=libone.so+0x$one;module=libone.so" 'h r h h' "${some[@]}"
row "site=libone.so+0x$one module=libtwo.so" 'h h h h' "${some[@]}"
row "site=libone.so+0x$one" 'hh r' thread:x:one.other one.get
row 'site=one_get' 'r h h h' "${some[@]}"
row 'site=one_other' 'h r h h' "${some[@]}"
row 'site=one_other;site=two_get' 'h r r h' "${some[@]}"
row '!site=one_get;module=libone.so' 'h r h h' "${some[@]}"
row 'site=one_get size=..4K' 'h r' one.get one.get/100
row 'site=one_get module=libtwo.so' 'h h h h' "${some[@]}"
row 'site=one_get thread=preload_rules' 'r r r h' one.get one.walk one.held two.held
row 'site=one_ge' 'h h h h' "${some[@]}"
row 'site=malloc' 'h h h h' "${some[@]}"
row 'site=main_asks' 'h r' one.get main
row 'site=inner_asks' 'r h' inner main   # the program does not export it
row 'site=hidden_asks' 'h' one.hidden    # nor this module, which comes later
strip -o "$work/stripped" "$helper"
helper=$work/stripped row 'site=inner_asks' 'h' inner
row 'site=strdup' 'h r' one.get one.dup
row 'site=cxx_new' 'r h' cxx.new cxx.array

# ---- which thread --------------------------------------------------------------------------

row 'thread=worker' 'hr h' thread:worker:main main
row 'thread=preload_rules' 'rh r' thread:worker:main main
row 'thread=work*' 'hr hr hh' thread:worker:main thread:works:main thread:wonder:main
row 'thread=io-[0-4]' 'hr hh' thread:io-3:main thread:io-7:main
row '!thread=worker;all' 'rh r' thread:worker:main main
row 'thread=worker module=libone.so' 'hr hh h' thread:worker:one.get thread:worker:two.get one.get
row 'thread=two?words' 'hr' 'thread:two words:main'
row 'thread=a-name-of-15-ch' 'hr' thread:a-name-of-15-characters:main

# ---- how many --------------------------------------------------------------------------------

row 'size=5000 sample=1/1' 'rrrr' 'main*4'
row 'size=5000 sample=1/3' 'hhrhhrhhr' 'main*9'
row 'sample=1/3 size=5000' 'hhrhhrhhr' 'main*9'
row 'size=5000 sample=1/3' 'hhrhh rh hr' 'main*5' 'one.get*2' thread:x:main
row '!size=5000 sample=1/3;size=5000' 'rrhrrh' 'main*6'
row 'size=5000 sample=1/2;size=5000 sample=1/2' 'hrrrhrrr' 'main*8'
row 'module=libone.so size=5000 sample=1/2' 'hr hhhh hr' 'one.other*2' 'main*4' 'one.other*2'
row 'size=5000 sample=1/2 module=libone.so' 'hhh h hhh r' 'main*3' one.get 'main*3' one.get
row 'size=5000 sample=1/2;size=6000' 'h r rr' main main main/6000*2
row 'size=5000.. sample=1/2' 'hh rr hh' resize/6000 resize/6000 resize/60000
row '!size=5000.. sample=1/2;size=5000..' 'rr hh' resize/6000 resize/60000

# ---- all at once ----------------------------------------------------------------------------------

printf '# who\nbuffers: module=libone.so site=one_get size=4K..  thread=worker sample=1/2\n!small: size=..100\nmodule=libtwo.so\n' >"$work/rules"
row "@$work/rules" 'hhrhr hhhh r h h' 'thread:worker:one.get*4' 'thread:worker:one.other*3' two.get two.get/100 one.get
cd "$work" && row @rules 'r h' two.get one.get && cd - >/dev/null

# ---- what is counted --------------------------------------------------------------------------------

# under KEY=VALUE... -- STEP...: the helper; $status, $work/out, $work/err, $work/s.json
under() {
	local keys=()
	while [ "$1" != -- ]; do
		keys+=("$1")
		shift
	done
	shift
	status=0
	rm -f "$work/s.json"
	(cd "$work" && env SHMBIND_REGION=$name SHMBIND_LOG=0 SHMBIND_STATS="$work/s.json" "${keys[@]}" LD_PRELOAD="$shim" \
		"$helper" "$work" "$@" >"$work/out" 2>"$work/err"; exit $?) 2>/dev/null || status=$?
}
counted() { jq -c '[.rules[] | [.hits, .bytes, .fallbacks]]' "$work/s.json" 2>&1; }

# counts RULES '[HITS,BYTES,FALLBACKS],...' STEP...: in a region, and in a dry run
counts() {
	rows=$((rows + 1))
	under SHMBIND_PLACE="$1" -- "${@:3}"
	if [ "$(counted)" = "[$2]" ] && [ $status = 0 ]; then
		echo "ok   $1: ${*:3}: counts $2"
	else
		wrong "$1: ${*:3}: should count [$2]" "$(counted) (status $status) $(cat "$work/err")"
	fi
}
counts_dry() {
	counts "$@"
	rows=$((rows + 1))
	under SHMBIND_DRYRUN=1 SHMBIND_PLACE="$1" -- "${@:3}"
	if [ "$(counted)" = "[$2]" ] && [ "$(jq .dry_run "$work/s.json")" = true ] && [ $status = 0 ] && ! grep -q r "$work/out"; then
		echo "ok   dry run: $1: ${*:3}: counts $2, places nothing"
	else
		wrong "dry run: $1: ${*:3}: should count [$2]" "$(counted) (status $status) $(cat "$work/out" "$work/err")"
	fi
}

counts_dry 'size=5000' '[10,51200,0]' 'main*10'
counts_dry 'size=4900..5120' '[1000,5120000,0]' 'main*1000'
counts_dry 'size=5000' '[0,0,0]' 'main/5001*10'
counts_dry 'size=472' '[0,0,0]' 'main/5001*10' # nor what the shim itself asks libc for at its start
counts_dry 'size=4900..5120;size=6000..6144' '[3,15360,0],[2,12288,0]' 'main*3' 'main/6100*2'
counts_dry 'size=4900..5000;size=4900..5120' '[3,15360,0],[9,46080,0]' 'main*3' 'main/5001*4' 'main/5120*5'
counts_dry 'size=5000..5120;size=4900..5120' '[7,35840,0],[2,10240,0]' 'main/5000*3' 'main/5120*4' 'main/4900*2'
counts_dry 'size=100000..' '[2,200000,0]' 'main/100000*2' main
counts_dry 'size=4900..5120' '[156,798720,0]' 'main*100' 'thread:a:main*50' 'thread:b:main*4'
counts_dry 'size=5000 thread=b;size=5000' '[4,20480,0],[152,778240,0]' 'main*100' 'thread:a:main*50' 'thread:b:main*4'
counts_dry '!module=libone.so;size=4900..5120' '[4,20480,0],[2,10240,0]' 'one.get*3' 'main*2' # 4: the module's constructor asks too
counts_dry '!size=5000;size=4900..5120' '[2,10240,0],[1,5120,0]' 'main*2' main/5001
counts_dry 'size=5000;!all' '[1,5120,0],[0,0,0]' main main/5001
counts_dry 'size=5000 sample=1/3' '[3,15360,0]' 'main*10'
counts_dry 'size=5000..6000' '[4,22528,0]' 'resize/6000*2'
counts_dry 'site=one_get size=5000;module=libone.so size=5000' '[2,10240,0],[1,5120,0]' 'one.get*2' one.other two.get
counts 'size=4900..5120' '[5,25600,0]' 'main*2' 'fork*3' main/5001 main 'main'
counts_dry 'size=5000' '[2,10240,0]' main 'fork*3' main

under SHMBIND_FORK=share SHMBIND_PLACE=size=4900..5120 -- 'main*2' 'fork*3' main
verify "share: a child's requests count in its parent's region" [ "$(counted)" = '[[6,30720,0]]' ]
under SHMBIND_SIZE=1M SHMBIND_PLACE='no: size=1..5000;big: size=64K..' -- 'main/100000*20'
verify "fallbacks: they are the rule's, and as many as the region's" \
	[ "$(jq -c '[.rules[0].fallbacks, .rules[1].hits, .rules[1].bytes, .rules[1].fallbacks == .fallbacks, .fallbacks >= 12 and .fallbacks < 20]' "$work/s.json")" = '[0,20,2000000,true,true]' ]
under SHMBIND_SIZE=1M SHMBIND_FULL=enomem SHMBIND_PLACE='big: size=64K..' -- 'main/100000*20'
verify "full, enomem: none falls back" [ "$(jq -c '[.rules[0].hits, .rules[0].fallbacks]' "$work/s.json")" = '[20,0]' ]
under SHMBIND_PLACE='  big:  size=5000;! thread=x"\	' -- main
verify "the rules as they were written" [ "$(jq -c '[.rules[] | [.rule, .places]]' "$work/s.json")" = '[["big:  size=5000",true],["! thread=x\"\\",false]]' ]
under SHMBIND_PLACE="$(printf 'size=%d;' {1..64})" -- main/1 'main/64*2'
verify "64 rules" [ "$(jq -c '[(.rules | length), .rules[0].hits, .rules[63].hits]' "$work/s.json")" = '[64,1,2]' ]
under SHMBIND_PLACE="size=5000;$(printf 'module=x%.0s' {1..1})$(printf 'y%.0s' {1..200})" -- main
verify "a long rule is shown in part" [ "$(jq -c '[.rules[1].rule | length, startswith("module=xyyyy")]' "$work/s.json")" = '[95,true]' ]

# ---- from outside ------------------------------------------------------------------------------------

rules='buffers: size=4900..5120;!size=..100;kept: thread=nobody'
mkfifo "$work/in" "$work/says"
(cd "$work" && SHMBIND_REGION=$name SHMBIND_LOG=0 SHMBIND_PLACE=$rules LD_PRELOAD=$shim exec "$helper" "$work" 'main*7' wait 'main*5') \
	<"$work/in" >"$work/says" &
asker=$!
exec 8>"$work/in" 9<"$work/says"
while read -r -u 9 -t 60 word && [ "$word" != ready ]; do :; done
"$tool" stats $name --json >"$work/s.json"
verify "shmbind stats --json, while the program runs: 7" [ "$(jq -c '.rules[0] | [.rule, .hits, .bytes]' "$work/s.json")" = '["buffers: size=4900..5120",7,35840]' ]
"$tool" stats $name >"$work/text"
verify "shmbind stats: a table" grep -qE '^ +7 +35.0 KiB +35.0 KiB +[0-9.]+ KiB +0  buffers: size=4900..5120$' "$work/text"
verify "and a line for each rule, in their order" \
	[ "$(awk '/fallbacks +rule$/ {on = 1; next} /^$/ {on = 0} on' "$work/text" | grep -oE '(buffers|!size|kept).*')" = "${rules//;/$'\n'}" ]
exec 8>&-
cat <&9 >"$work/out"
exec 9<&-
wait $asker

under SHMBIND_PLACE=size=4900..5120 -- 'main*7' kill
verify "a killed program's region still tells" [ "$("$tool" stats $name --json | jq -c '.rules[0].hits')" = 7 ]
rm -f /dev/shm$name

# ---- dry run -------------------------------------------------------------------------------------------

under SHMBIND_DRYRUN=1 SHMBIND_LOG=1 SHMBIND_PLACE='size=4900..5120;!size=5500;size=6000' SHMBIND_STATS=stderr -- 'main*2' main/5500 main/6000
verify "dry run: a line at the start, one at the end with the sums" [ "$(grep ^shmbind "$work/err")" = \
	"shmbind: dry run: nothing is placed; counting what size=4900..5120;!size=5500;size=6000 would place
shmbind: dry run: 3 requests of 16384 bytes would have been placed" ]
verify "dry run: and the table" grep -qE '^ +2 +10.0 KiB +0  size=4900..5120$' "$work/err"
under SHMBIND_DRYRUN=1 SHMBIND_PLACE=all -- main
verify "dry run, SHMBIND_LOG=0: nothing is said" [ ! -s "$work/err" ]
under SHMBIND_DRYRUN=1 SHMBIND_PLACE=size=5000 SHMBIND_STATS="$work/dry.%p.json" -- 'main*2' 'fork*2' main
verify "dry run: a forked child tells its own" [ "$(cat "$work"/dry.*.json | jq -c '.rules[0].hits' | sort | tr '\n' ' ')" = '1 1 3 ' ]
under SHMBIND_DRYRUN=0 SHMBIND_PLACE=size=5000 -- main
verify "SHMBIND_DRYRUN=0: placed" [ "$(cat "$work/out")" = r ]

rows_hold
