#!/bin/bash
# Every allocation entry point of libc and C++ under the shim: where the result
# lies, its alignment, errno, zero sizes, overflow, huge sizes, realloc in all
# directions, and what a region without room gives.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
name=/shmb-test-$$-entry

# under KEY=VALUE... -- COMMAND...: all of it is one group of lines
under() {
	local keys=(SHMBIND_LOG=0 SHMBIND_REGION=$name) status=0 title
	while [ "$1" != -- ]; do
		keys+=("$1")
		shift
	done
	shift
	title="$(basename "$1") ${*:2}: ${keys[*]:2}"
	echo "-- $title"
	env "${keys[@]}" LD_PRELOAD="$shim" "$@" || status=$?
	if [ $status != 0 ]; then
		echo "FAIL $title: exit status $status"
		failures=$((failures + 1))
	fi
	if [ -e /dev/shm$name ]; then
		echo "FAIL $title: the region is still there"
		failures=$((failures + 1))
	fi
}

c=$BUILD/tests/helpers/preload_entry
under SHMBIND_PLACE=all -- "$c" all $name
under SHMBIND_PLACE=size=4K.. -- "$c" mixed $name
under SHMBIND_PLACE=all SHMBIND_SIZE=1M SHMBIND_FULL=enomem -- "$c" full $name

cxx=$work/preload_entry_cxx
g++ -std=c++17 -O1 -fno-allocation-dce -Wall -Wextra -Wno-use-after-free -Wno-mismatched-new-delete tests/helpers/preload_entry_cxx.cc -o "$cxx" -ldl
under SHMBIND_PLACE=all -- "$cxx" all $name
under SHMBIND_PLACE=all SHMBIND_SIZE=1M SHMBIND_FULL=enomem -- "$cxx" full $name

[ $failures = 0 ] || { echo "$failures groups failed"; exit 1; }
echo "every entry point does as it should"
