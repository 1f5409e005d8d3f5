#!/bin/bash
# Does what README.md tells a newcomer, command by command as it stands there, in
# a fresh Debian root: install, place a program's buffers, look at them, read them
# from C, C++ and Python, remove it again; and looks whether nothing is left.
#
#   newcomer.sh               NEWCOMER_BASE=DIR: a copy of that root, not debootstrap's
set -eu
cd "$(dirname "$0")/.."
mirror=${DEBIAN_MIRROR:-http://deb.debian.org/debian} suite=${DEBIAN_SUITE:-bookworm}

if [ -z "${IN_ROOT:-}" ]; then
	work=$(mktemp -d)
	trap 'rm -rf --one-file-system "$work"' EXIT # out here nothing is mounted in it
	IN_ROOT=$work/root unshare --mount --propagation private bash "$0"
	exit
fi

. tests/helpers/root.sh
say() { printf '\n== %s (%d s)\n' "$*" "$SECONDS"; }
root=$IN_ROOT tree=$IN_ROOT/root/shmem-bind
say "a fresh root of $suite"
if [ -n "${NEWCOMER_BASE:-}" ]; then
	cp -a "$NEWCOMER_BASE" "$root"
else
	debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || { tail "$root.log"; exit 1; }
fi
mount --bind "$root" "$root" # a mount point, for chroot's /proc
furnish "$root"
cp /etc/resolv.conf "$root/etc/" 2>/dev/null || true
mkdir -p "$tree"
git ls-files -z | tar -c --null -T - | tar -x -C "$tree"
before=$(cd "$root" && find usr etc -xdev | sort)

WITH_SHELL=1 scripts/snippets.sh README.md "$tree"
cat - "$tree/run.sh" >"$tree/told.sh" <<'TOLD'
trap 'case $BASH_COMMAND in settle | shows* | cat*) ;; *) printf "\n$ %s\n" "$BASH_COMMAND" >&9 ;; esac' DEBUG
TOLD
say "what README.md says"
mkfifo "$tree/.input"
exec 7<>"$tree/.input"
inside "$root" env SNIPPETS=/root/shmem-bind SETTLE=3 bash -c \
	'cd /root/shmem-bind && exec bash told.sh 9>&1' <&7 || {
	say "FAIL: README.md's commands do not do what it says"
	exit 1
}
for _ in $(seq 100); do
	[ -n "$(ls "$root/dev/shm")" ] || break
	echo >&7 # whoever waits for a line, as the reader would end it
	sleep 0.1
done

say "what is left"
[ -z "$(ls "$root/dev/shm")" ] || { echo "FAIL: regions: $(ls "$root/dev/shm")"; exit 1; }
left=$(comm -13 <(echo "$before") <(cd "$root" && find usr etc -xdev | sort) | grep -E 'shmb(ind|_)' || true)
[ -z "$left" ] || { echo "FAIL: files: $left"; exit 1; }
echo "no region, no file outside the source tree"
say "done"
echo "1 passed, 0 failed"
