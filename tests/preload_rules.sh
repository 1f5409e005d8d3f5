#!/bin/bash
# The rules of SHMBIND_PLACE that ask who makes a request: module=, site=,
# thread=, sample=, their negation and their order. Each row says where the
# requests of some known code go.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build} SAN=${SAN:-} CC=${CC:-cc}
case $SAN in
address | thread)
	echo "the sanitizer's runtime must come first and brings its own malloc: no shim beside it"
	exit 77
	;;
esac
shim=$PWD/$BUILD/libshmbind-preload.so
tool=$PWD/$BUILD/shmbind
helper=$PWD/$BUILD/tests/helpers/preload_rules
name=/shmb-test-$$-rules
work=$(mktemp -d)
trap 'rm -rf "$work" /dev/shm/shmb-test-$$-*' EXIT
failures=0 rows=0

wrong() {
	printf 'FAIL %s\n' "$@" | sed '2,$s/^FAIL/    /'
	failures=$((failures + 1))
}
verify() { # verify TEXT COMMAND...
	rows=$((rows + 1))
	if "${@:2}"; then echo "ok   $1"; else wrong "$1"; fi
}

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

for how in get calloc realloc grow array aligned posix memalign valloc pvalloc start walk; do
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
row 'site=one_ge' 'h h h h' "${some[@]}"
row 'site=malloc' 'h h h h' "${some[@]}"
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

[ $failures = 0 ] || { echo "$failures of $rows rows are wrong"; exit 1; }
echo "$rows rows hold"
