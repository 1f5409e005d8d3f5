#!/bin/sh
# Installs what a build or a test run needs and this machine lacks, with the
# distribution's package manager, and nothing else. Run again, it does nothing.
#
#   deps.sh build    what `make all` needs
#   deps.sh test     that, and what `make check` and `make demo` run
#   deps.sh fuzz     what `make fuzz` needs
#   deps.sh bench    what the tests need, and the allocators `make bench` compares with
set -eu

want=
need() { # need COMMAND PACKAGE
	command -v "$1" >/dev/null 2>&1 || want="$want $2"
}
need_file() { # need_file PACKAGE: a package without a command to look for
	dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed || want="$want $1"
}

build() {
	need cc gcc
	need make make
	need pkg-config pkg-config
	need bzip2 bzip2
	need sha256sum coreutils
	need ar binutils
	need_file libc6-dev
	need_file libsmartcols-dev
}
tests() {
	build
	need_file check
	need_file python3
	need g++ g++
	need perl perl
	need git git
	need sqlite3 sqlite3
	need xz xz-utils
	need jq jq
	need unshare util-linux
	need nm binutils
	need ps procps
	need man man-db
}
fuzz() {
	build
	need clang clang
	need_file libclang-rt-dev
}
bench() {
	tests
	need_file libjemalloc2
	need_file libmimalloc2.0
	need_file libtcmalloc-minimal4
	need_file libboost-dev
	need_file libmemkind-dev
}

case "${1:-}" in
build) build ;;
test) tests ;;
fuzz) fuzz ;;
bench) bench ;;
*) echo "usage: deps.sh build|test|fuzz|bench" >&2; exit 2 ;;
esac

[ -n "$want" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
	echo "deps.sh: missing, and no apt-get here to install them:$want" >&2
	exit 1
fi
if [ "$(id -u)" != 0 ]; then
	echo "deps.sh: missing:$want" >&2
	echo "deps.sh: run as root, or: sudo apt-get install --no-install-recommends$want" >&2
	exit 1
fi
echo "deps.sh: installing$want"
export DEBIAN_FRONTEND=noninteractive
apt="apt-get -q -o DPkg::Lock::Timeout=600" # make -j runs several of us
# shellcheck disable=SC2086 # lists of words
$apt install -y --no-install-recommends $want >/dev/null 2>&1 || {
	$apt update >/dev/null
	$apt install -y --no-install-recommends $want >/dev/null
}
