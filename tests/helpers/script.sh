# script.sh - how a test script begins, counts and ends. Sourced by it first of
# all, from the top of the tree on; $prefix begins the name of every region.
set -eu
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
BUILD=${BUILD:-build} SAN=${SAN:-} CC=${CC:-cc}
tool=$PWD/$BUILD/shmbind
shim=$PWD/$BUILD/libshmbind-preload.so
prefix=/shmb-test-$$-
work=$(mktemp -d)
trap 'rm -rf "$work" "/dev/shm$prefix"*' EXIT
ulimit -c 0
failures=0 rows=0

# For a script that needs the shim.
needs_shim() {
	case $SAN in
	address | thread)
		echo "the sanitizer's runtime must come first and brings its own malloc: no shim beside it"
		exit 77
		;;
	esac
}

# Is there a pseudo-terminal to be had? Says so if not; needs_terminal ends the script then.
has_terminal() {
	/usr/bin/python3 -c 'import os, pty; os.close(pty.openpty()[0])' 2>/dev/null || { echo "note: no pseudo-terminal here"; return 1; }
}
needs_terminal() {
	has_terminal >/dev/null || { echo "no pseudo-terminal can be had here"; exit 77; }
}

wrong() { # wrong LINE...
	printf 'FAIL %s\n' "$@" | sed '2,$s/^FAIL/    /'
	failures=$((failures + 1))
}
verify() { # verify TEXT COMMAND...
	rows=$((rows + 1))
	if "${@:2}"; then
		echo "ok   $1"
		return
	fi
	wrong "$1"
	[ ! -s "$work/err" ] || sed 's/^/     stderr: /' "$work/err" | cat -v
}
left() { compgen -G "/dev/shm$prefix*" || true; }
nothing_left() { [ -z "$(left)" ]; }

# Ends the script: what held, or how much did not.
rows_hold() {
	[ $failures = 0 ] || { echo "$failures of $rows rows are wrong"; exit 1; }
	echo "$rows rows hold"
}
