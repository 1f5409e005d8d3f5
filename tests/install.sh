#!/bin/bash
# `make install` into a temporary prefix: what is there, programs built against
# it with pkg-config and CMake, shared and static, moved and staged; and
# `make uninstall`, which leaves nothing.
. "$(dirname "$0")/helpers/script.sh"
[ -z "$SAN" ] || { echo "a sanitizer build is not what one installs: programs without its runtime cannot link it"; exit 77; }
case $BUILD in *-debug) debug=1 ;; *) debug= ;; esac
unset MAKEFLAGS MFLAGS MAKELEVEL
version=$("$tool" --version | cut -d' ' -f2)
root=$work/root
prefix_dir=$work/prefix
lib=$prefix_dir/lib

try() { "$@" >"$work/out" 2>"$work/err"; }
tree() { make --no-print-directory ${debug:+DEBUG=1} "$@"; }
files() { (cd "$1" && find . ! -type d | sed 's|^\./||' | sort); }

# ---- what is there ----------------------------------------------------------------

verify "make install" try tree install PREFIX="$prefix_dir"
pages() {
	local page name
	for page in docs/man/*.[137]; do
		echo "share/man/man${page##*.}/${page##*/}"
		for name in $(sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([a-z_.-]*\).*/\1/p' "$page"); do
			echo "share/man/man${page##*.}/$name.${page##*.}"
		done
	done
}
{
	cat <<-LIST
		bin/shmbind
		lib/cmake/shmbind/shmbindConfig.cmake
		lib/cmake/shmbind/shmbindConfigVersion.cmake
		lib/libshmbind-malloc.so
		lib/libshmbind-preload.so
		lib/libshmbind.a
		lib/libshmbind.so
		lib/libshmbind.so.0
		lib/libshmbind.so.$version
		lib/pkgconfig/shmbind-malloc.pc
		lib/pkgconfig/shmbind.pc
		lib/python3/dist-packages/shmbind.py
		share/bash-completion/completions/shmbind
		share/shmbind/shmbind-gdb.py
		share/shmbind/stats.schema.json
		share/zsh/site-functions/_shmbind
	LIST
	for file in include/*; do echo "$file"; done
	pages
} | sort -u >"$work/want"
files "$prefix_dir" >"$work/got"
verify "what is installed, and nothing else" diff "$work/want" "$work/got"
verify "the soname is that of the interface, not of the version" \
	eval 'readelf -d "$lib/libshmbind.so" | grep -q "SONAME.*\[libshmbind.so.0\]"'
unversioned() { nm -D --defined-only "$lib/libshmbind.so.0" | awk '$2 ~ /[TDBRVW]/ {print $3}' | grep -v '^shmb_.*@@SHMBIND_0$'; }
verify "each symbol carries its version" eval '! unversioned && nm -D --defined-only "$lib/libshmbind.so.0" | grep -q @@SHMBIND_0'
if man --version >/dev/null 2>&1; then
	verify "a function's page is found by its name" \
		eval 'MANPATH="$prefix_dir/share/man" man -w shmb_arena_close | grep -q /man3/shmb_'
else
	echo "note: no man, the pages were not looked up"
fi
verify "the installed tool finds the installed shim" \
	eval '"$prefix_dir/bin/shmbind" run --region "${prefix}run" --log 1 -- true 2>&1 | grep -q "placing size=64K"'


# ---- Python --------------------------------------------------------------------------

imports() { # imports DIR [KEY=VALUE...]: the module that is installed there, with the library that it finds
	env -u LIBSHMBIND -u PYTHONDONTWRITEBYTECODE PYTHONPATH="$1" "${@:2}" /usr/bin/python3 -c 'import os, shmbind, sys
assert os.path.dirname(shmbind.__file__) == sys.argv[1], shmbind.__file__
with shmbind.Arena(sys.argv[2], 1 << 20) as heap:
    print(len(heap.malloc(100).view()), shmbind.version())
print(*sorted({line.split()[-1] for line in open("/proc/self/maps") if "libshmbind" in line}))' "$1" "${prefix}py"
}
verify "Python: the installed module, with the installed library" \
	[ "$(imports "$lib/python3/dist-packages")" = "100 $version"$'\n'"$lib/libshmbind.so.$version" ]
verify "  it left a compiled one" [ -n "$(compgen -G "$lib/python3/dist-packages/__pycache__/shmbind.*.pyc")" ]

# ---- programs ----------------------------------------------------------------------

cat >"$work/heap.c" <<'C'
#include <shmbind.h>
#include <stdio.h>
#include <string.h>
int main(int argc, char **argv)
{
	shmb_options opt = {.size = 1 << 20};
	shmb_arena *a;
	int err = argc == 2 ? shmb_arena_open(argv[1], &opt, &a) : -1;
	char *text = err ? NULL : shmb_malloc(a, 100);
	if (!text)
		return 1;
	strcpy(text, "in the heap");
	puts((char *)shmb_deref(a, shmb_ref_of(a, text), 1));
	shmb_free(a, text);
	return shmb_arena_close(a);
}
C
cat >"$work/plain.c" <<'C'
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
	char *volatile p = malloc(100000);
	printf("%s\n", p ? "in the heap" : "no memory");
	free(p);
	return 0;
}
C
runs() { # runs PROGRAM: it prints what it should, and leaves no region
	[ "$("$1" "${prefix}heap")" = "in the heap" ] && nothing_left
}
places() { # places PROGRAM: its malloc is the shim
	SHMBIND_REGION=${prefix}malloc SHMBIND_STATS=$work/stats.json SHMBIND_LOG=0 runs "$1" &&
		[ "$(jq '.rules[0].hits' "$work/stats.json")" -ge 1 ]
}
needs() { readelf -d "$1" | grep NEEDED; }

export PKG_CONFIG_PATH=$lib/pkgconfig
pc() { pkg-config "$@"; }
verify "pkg-config: the version" [ "$(pc --modversion shmbind)" = "$version" ]
verify "pkg-config: a program" try "$CC" -Wall -Werror "$work/heap.c" $(pc --cflags --libs shmbind) -Wl,-rpath,"$lib" -o "$work/heap"
verify "  runs with the installed library" eval 'runs "$work/heap" && needs "$work/heap" | grep -q "libshmbind\.so\.0"'
verify "pkg-config: one with all libraries in it" \
	try "$CC" -Wall -static "$work/heap.c" $(pc --cflags --static --libs shmbind) -o "$work/heap-static"
verify "  needs none, and runs" eval '! needs "$work/heap-static" && runs "$work/heap-static"'
verify "pkg-config: one with this library in it" \
	try "$CC" -Wall -Werror "$work/heap.c" $(pc --cflags shmbind) "$lib/libshmbind.a" -pthread -lm -o "$work/heap-part"
verify "  runs" eval '! needs "$work/heap-part" | grep -q libshmbind && runs "$work/heap-part"'
verify "pkg-config: malloc" \
	try "$CC" -Wall -Werror "$work/plain.c" $(pc --libs shmbind-malloc) -Wl,--as-needed -Wl,-rpath,"$lib" -o "$work/plain"
verify "  is the shim" places "$work/plain"

# ---- CMake --------------------------------------------------------------------------

project() { # project DIRECTORY VERSION
	mkdir -p "$1"
	cp "$work/heap.c" "$work/plain.c" "$1"
	cat >"$1/CMakeLists.txt" <<-CMAKE
		cmake_minimum_required(VERSION 3.16)
		project(user C)
		find_package(shmbind $2 CONFIG REQUIRED)
		find_package(shmbind $2 CONFIG REQUIRED) # twice does no harm
		add_executable(heap heap.c)
		target_link_libraries(heap PRIVATE shmbind::shmbind)
		add_executable(heap-static heap.c)
		target_link_libraries(heap-static PRIVATE shmbind::static)
		add_executable(plain plain.c)
		target_link_libraries(plain PRIVATE shmbind::malloc)
	CMAKE
}
cmake_with() { # cmake_with PREFIX DIRECTORY
	cmake -S "$2" -B "$2/build" -DCMAKE_PREFIX_PATH="$1" -DCMAKE_C_COMPILER="$CC"
}
cmake_rows() { # cmake_rows WHAT PREFIX
	local at=$work/cmake-$RANDOM from=$2
	project "$at" 0.1
	verify "CMake, $1: finds it and builds" eval 'try cmake_with "$from" "$at" && try cmake --build "$at/build"'
	verify "  shmbind::shmbind" eval 'runs "$at/build/heap" && needs "$at/build/heap" | grep -q "libshmbind\.so\.0"'
	verify "  shmbind::static" eval 'runs "$at/build/heap-static" && ! needs "$at/build/heap-static" | grep -q libshmbind'
	verify "  shmbind::malloc" places "$at/build/plain"
}
if cmake --version >/dev/null 2>&1; then
	cmake_rows installed "$prefix_dir"
	for wish in 0.2 0.1.7; do
		project "$work/cmake-$wish" $wish
		verify "CMake: version $wish is another" eval '! try cmake_with "$prefix_dir" "$work/cmake-$wish" && grep -q "version: $version" "$work/err"'
	done
	mv "$prefix_dir" "$work/moved" # with the lib of a rpath that is gone nothing could pass by mistake
	cmake_rows moved "$work/moved"
	mv "$work/moved" "$prefix_dir"
else
	echo "note: no cmake, the package file was not tried"
fi

# ---- staged, as a package has it -------------------------------------------------------

staged=(DESTDIR="$root" PREFIX=/usr LIBDIR=/usr/lib/x86_64-linux-gnu)
verify "make install, staged for other directories" try tree install "${staged[@]}"
verify "  the staging directory is in no file" eval '! grep -rq "$root" "$root"'
verify "  pkg-config is told where things will be" \
	[ "$(PKG_CONFIG_PATH=$root/usr/lib/x86_64-linux-gnu/pkgconfig pkg-config --variable=libdir shmbind)" = /usr/lib/x86_64-linux-gnu ]
verify "  the Python module is where Debian's python3 looks" [ -e "$root/usr/lib/python3/dist-packages/shmbind.py" ]
verify "  it finds the library as the loader does" \
	[ "$(imports "$root/usr/lib/python3/dist-packages" LD_LIBRARY_PATH="$root/usr/lib/x86_64-linux-gnu" | tail -n 1)" = "$root/usr/lib/x86_64-linux-gnu/libshmbind.so.$version" ]
[ "$(uname -m)" != x86_64 ] || verify "  the tool finds the shim there" \
	eval '"$root/usr/bin/shmbind" run --region "${prefix}run" -- true 2>&1 | grep -q "placing size=64K"'
if cmake --version >/dev/null 2>&1; then
	cmake_rows "in directories of one's own" "$root/usr"
fi

rm -rf "$work/own"
verify "PYTHONDIR: there" eval 'try tree install PREFIX="$work/own" PYTHONDIR="$work/own/modules" && [ "$(cd "$work/own" && find . -name "shmbind.py")" = ./modules/shmbind.py ]'
verify "  and away" eval 'try tree uninstall PREFIX="$work/own" PYTHONDIR="$work/own/modules" && [ -z "$(find "$work/own" -mindepth 1)" ]'

# ---- and away ---------------------------------------------------------------------------

verify "make uninstall" try tree uninstall PREFIX="$prefix_dir"
verify "  leaves nothing, no directory either" [ -z "$(find "$prefix_dir" -mindepth 1)" ]
echo mine >"$root/usr/bin/other"
try tree uninstall "${staged[@]}"
verify "  but what others have there" [ "$(files "$root")" = usr/bin/other ]
verify "  and the directories that a system has of itself" [ -d "$root/usr/share/man/man3" ]
rows_hold
