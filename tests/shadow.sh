#!/bin/bash
# AddressSanitizer and valgrind see the blocks of an arena, in the builds that
# tell them: what is wrong is found, where it is, and nothing else.
. "$(dirname "$0")/helpers/script.sh"
helper=$BUILD/tests/helpers/shadow
name=${prefix}x

mistake() { # mistake WHAT: $status, what the checker said in $work/err
	status=0
	if [ "$SAN" = valgrind ]; then
		valgrind --leak-check=full --error-exitcode=9 "$helper" "$1" $name >"$work/out" 2>"$work/err" || status=$?
	else
		("$helper" "$1" $name >"$work/out" 2>"$work/err"; exit $?) 2>/dev/null || status=$?
	fi
	rm -f "/dev/shm$name"
}
# says WHAT FUNCTION PATTERN...: exactly one error, of that function of the helper, with these lines
says() {
	local pattern
	mistake "$1"
	rows=$((rows + 1))
	for pattern in "${@:3}" " $2 (in|\(|/|.*shadow\.c)" "${one[@]}"; do
		grep -qE -- "$pattern" "$work/err" && continue
		wrong "$1 should say: $pattern" "$(cat "$work/err")"
		return
	done
	[ $status != 0 ] || { wrong "$1: status 0"; return; }
	echo "ok   $1: $3"
}

case $SAN in
address)
	one=()
	says after after 'use-after-poison on address' 'READ of size 1'
	says after-large after_large 'use-after-poison on address' 'WRITE of size 1'
	says beyond beyond 'use-after-poison on address' 'WRITE of size 1'
	says beyond-large beyond_large 'use-after-poison on address'
	;;
valgrind)
	one=('ERROR SUMMARY: 1 errors from 1 contexts')
	says after after 'Invalid read of size 1' 'is 40 bytes inside a block of size 100 free.d' "Block was alloc'd at"
	says after-large after_large 'Invalid write of size 1' 'is 70,000 bytes inside a block of size 100,000 free.d'
	says beyond beyond 'Invalid write of size 1' "is 0 bytes after a block of size 100 alloc'd"
	says beyond-large beyond_large 'Invalid write of size 1' "is 0 bytes after a block of size 100,000 alloc'd"
	says unset unset 'uninitialised value'
	says leak leak '123 bytes in 1 blocks are definitely lost' 'definitely lost: 123 bytes in 1 blocks'
	;;
*)
	echo "the library tells of its blocks in the builds SAN=address and SAN=valgrind"
	exit 77
	;;
esac
mistake nothing
verify "a program without a mistake: nothing is said" eval '[ $status = 0 ] && ! grep -qE "ERROR SUMMARY: [1-9]|AddressSanitizer" "$work/err"'
rows_hold
