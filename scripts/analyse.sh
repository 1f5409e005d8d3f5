#!/bin/bash
# Looks for mistakes without running anything: clang-tidy, cppcheck, gcc's
# analyser, or those of them that are named. 1: one of them found something.
#
#   analyse.sh [tidy|cppcheck|gcc]...
#
# clang-tidy goes by .clang-tidy and src/cli/.clang-tidy, cppcheck by
# scripts/cppcheck.txt. The first and gcc want build/jemalloc to be there.
set -u
shopt -s nullglob
cd "$(dirname "$0")/.." || exit 1
jobs=$(nproc)
include="-Iinclude -Isrc -isystem build/jemalloc/include"
product=(src/*.c src/cli/*.c preload/*.c)
rest=(tests/helpers/*.c examples/[!m]*.c examples/me*.c) # mpi_window.c wants MPI
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT

each() { # each COMMAND FILE...: the shell command for each file, named $1 in it
	printf '%s\0' "${@:2}" | xargs -0 -P "$jobs" -I{} bash -c "$1" bash {}
}

tidy() {
	each "clang-tidy --quiet \"\$1\" -- -std=gnu11 -D_GNU_SOURCE -pthread $include 2>/dev/null" "${product[@]}"
}

cppcheck_options() { sed -n '/^-/p' scripts/cppcheck.txt; }
cppcheck_all() {
	local options
	mapfile -t options < <(cppcheck_options)
	sed '/^-/d; /^#/d' scripts/cppcheck.txt >"$found/suppressed"
	cppcheck --quiet -j "$jobs" -Iinclude -Isrc -Ipreload "${options[@]}" --suppressions-list="$found/suppressed" \
		--template='{file}:{line}: {severity}: {message} [{id}]' "${product[@]}" "${rest[@]}" 2>&1
}

# gcc 12 takes for a leak what is put in an array of the caller's, or what is live when exit() is called (the tool and the
# helpers, which keep memory by design; clang-tidy looks for leaks in the first), for uninitialised what a function returns in
# a struct with padding (the shim's decision), and forgets what a static pointer was given (helpers).
gcc_options() { # gcc_options FILE
	case $1 in
	src/cli/*) echo -Wno-analyzer-malloc-leak ;;
	preload/interpose.c) echo -Wno-analyzer-use-of-uninitialized-value ;;
	tests/*) echo -Wno-analyzer-malloc-leak -Wno-analyzer-double-free ;;
	esac
}
gcc_all() {
	export -f gcc_options
	each "gcc -std=gnu11 -D_GNU_SOURCE -fPIC -pthread -O2 -fanalyzer -fdiagnostics-plain-output $include \
		\$(gcc_options \"\$1\") -c \"\$1\" -o /dev/null 2>&1" "${product[@]}" "${rest[@]}"
}

wrong=0
look() { # look NAME VERSION COMMAND
	local start=$SECONDS n
	"$3" >"$found/text" || wrong=1
	n=$(grep -cE ': (warning|error|performance|portability)\b' "$found/text")
	cat "$found/text"
	[ ! -s "$found/text" ] || wrong=1
	echo "$1 $2: $n found, $((SECONDS - start)) s"
}
for name in ${*:-cppcheck gcc tidy}; do
	case $name in
	tidy) look clang-tidy "$(clang-tidy --version | sed -n 's/.*LLVM version //p')" tidy ;;
	cppcheck) look cppcheck "$(cppcheck --version | sed 's/.* //')" cppcheck_all ;;
	gcc) look 'gcc -fanalyzer' "$(gcc -dumpfullversion)" gcc_all ;;
	*) echo "usage: analyse.sh [tidy|cppcheck|gcc]..." >&2; exit 2 ;;
	esac
done
exit $wrong
