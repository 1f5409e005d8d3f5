#!/bin/bash
# What programs do to heap memory beside reading and writing it: advice,
# protection, locks, direct and asynchronous I/O, other processes' hands. The
# same program says the same with the shim and without.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helper=$PWD/$BUILD/tests/helpers/preload_memory
rmdir "$work"
work=$(mktemp -d -p "$BUILD") # on a disk, for O_DIRECT
work=$(realpath "$work")

# shimmed KEY=VALUE... -- ARG...: the helper's status and what it says
shimmed() {
	local keys=()
	while [ "$1" != -- ]; do
		keys+=("$1")
		shift
	done
	shift
	local status=0
	env SHMBIND_LOG=0 SHMBIND_PLACE=all SHMBIND_SIZE=256M SHMBIND_REGION="$prefix%p" "${keys[@]}" LD_PRELOAD="$shim" \
		timeout -k 5 100 "$helper" "$@" 2>&1 || status=$?
	echo "status $status"
}
case_of() { awk -v title="-- $1" '/^-- /{on = $0 == title; next} on' "$2"; }
same() { diff <(case_of "$1" "$work/plain") <(case_of "$1" "$2") >"$work/diff" || { sed 's/^/     /' "$work/diff"; false; }; }

(timeout -k 5 100 "$helper" plain "$work/file" 2>&1; echo "status $?") >"$work/plain"
verify "without the shim: to the end" [ "$(tail -1 "$work/plain")" = "status 0" ]
for fork in copy share; do
	shimmed SHMBIND_FORK=$fork -- placed "$work/file" >"$work/$fork"
	verify "$fork: to the end" [ "$(tail -1 "$work/$fork")" = "status 0" ]
	while read -r title; do
		case "$fork $title" in
		"share mprotect and fork" | "share process_vm_readv"*) continue ;; # a child that writes, writes to both
		esac
		verify "$fork: $title: as without the shim" same "$title" "$work/$fork"
	done < <(sed -n 's/^-- //p' "$work/plain")
done
verify "nothing is left" nothing_left

if [ "$(ulimit -l)" = unlimited ] || [ "$(id -u)" = 0 ]; then
	verify "mlockall makes nothing of a region that was not there, nor does a fork after it, nor a new region" \
		[ "$(shimmed -- lockall $prefix)" = "$(printf '  %s\n' 'the region is small: 1' 'mlockall: 0' 'it still is: 1' \
			'the child'\''s mlockall: 0' 'its region is small: 1' 'both blocks: 2' 'the child'\''s status: 9' 'the region is as it was: 1'; echo status 0)" ]
else
	echo "note: mlockall: not verified, this needs root or a high limit of locked memory"
fi

verify "a bare clone shares the region: it reads, its writes show, it executes and exits; the region stays" \
	[ "$(shimmed -- clone)" = "$(printf '  %s\n' 'it reads: 2' 'its write shows: 1' 'it executes: 6' 'it exits: 4' \
		'the region is there: 1' 'and gives blocks: xxxxxxxxxxxxxxxx'; echo status 0)" ]
verify "fork where neither descriptor nor name leads to the region, over blocks without access: the copy is whole" \
	[ "$(shimmed SHMBIND_REGION=${prefix}f -- forked /dev/shm${prefix}f)" = "$(printf '  %s\n' \
		'the child'\''s: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx' 'and the small one: xxxx' 'the child'\''s status: 3'; echo status 0)" ]
verify "SHMBIND_SMALLPAGES=1: 300 MiB without a huge page" [ "$(env SHMBIND_LOG=0 SHMBIND_PLACE=all SHMBIND_REGION="$prefix%p" \
	SHMBIND_SMALLPAGES=1 LD_PRELOAD="$shim" /usr/bin/python3 -c '
x = bytearray(300 << 20)
print(sum(int(l.split()[1]) for l in open("/proc/self/smaps") if l.startswith("ShmemPmdMapped")))')" = 0 ]
verify "nothing is left" nothing_left

rows_hold
