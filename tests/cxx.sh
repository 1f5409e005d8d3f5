#!/bin/bash
# shmbind.hpp with g++ and clang++, libstdc++ and libc++: containers in a
# region, read in place by a second process, at the region's own address and at
# another; and those that would be wrong there do not compile.
. "$(dirname "$0")/helpers/script.sh"
[ -z "$SAN" ] || { echo "a sanitizer build's library needs programs of the same build"; exit 77; }
flags=(-std=c++17 -O2 -Wall -Wextra -Wshadow -Werror -Iinclude)
library=("$BUILD/libshmbind.so.0" "-Wl,-rpath,$PWD/$BUILD")

read_by() { # read_by PROGRAM [AT]: what the second process says, in one line
	"$1" read "${prefix}cxx" "${@:2}" 2>&1 | tr '\n' ','
}
# share PROGRAM BLOCKS NODES: what is said elsewhere of deque and strings, and of a tree.
# The keys of the other two maps are strings, so that these are at one address with either library.
share() {
	local at pid none='none none: No such file or directory,'
	mkfifo "$work/in" "$work/fifo"
	timeout 120 "$1" write "${prefix}cxx" <"$work/in" >"$work/fifo" &
	pid=$!
	exec 7>"$work/in" 8<"$work/fifo"
	at=
	read -r -t 60 -u 8 at || true
	verify "  read in place" [ "$(read_by "$1")" = \
		"at its own address,vector good,deque good,string good,words good,map good,unordered_map good,tree good,$none" ]
	verify "  at another address" [ "$(read_by "$1" "$at")" = \
		"at another address,vector good,deque $2,string $2,words $2,map refused,unordered_map refused,tree $3,$none" ]
	verify "  the heap is sound" "$tool" check "${prefix}cxx"
	exec 7>&- 8<&-
	wait $pid || wrong "the writer failed"
	verify "  and the region goes with its owner" nothing_left
	rm "$work/in" "$work/fifo"
}
refused() { # refused COMPILER... -- TYPE: with shmb::allocator it does not compile
	local type=${*: -1}
	printf '#include <shmbind.hpp>\ntemplate <class T> using A = shmb::allocator<T>;\nvoid f(%s *c) { c->insert(c->end(), *c->begin()); }\n' \
		"$type" >"$work/refused.cc"
	! "${@:1:$#-2}" "${flags[@]}" -fsyntax-only "$work/refused.cc" 2>"$work/err" && grep -q 'plain pointers\|vector<bool>' "$work/err"
}

with() { # with BLOCKS NODES COMPILER...
	local compiler=("${@:3}")
	if ! echo '#include <vector>' | "${compiler[@]}" -x c++ -fsyntax-only - 2>/dev/null; then
		echo "note: ${compiler[*]} is not here"
		return
	fi
	verify "${compiler[*]}" "${compiler[@]}" "${flags[@]}" tests/helpers/cxx_share.cc -o "$work/share" "${library[@]}"
	share "$work/share" "$1" "$2"
}
with good refused g++
with good refused clang++
with refused good clang++ -stdlib=libc++
for type in 'std::list<int, A<int>>' 'std::set<int, std::less<>, A<int>>' \
	'std::unordered_set<int, std::hash<int>, std::equal_to<>, A<int>>' 'std::vector<bool, A<bool>>'; do
	verify "g++ refuses $type" refused g++ -- "$type"
done
rows_hold
