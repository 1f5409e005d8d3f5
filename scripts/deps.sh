#!/bin/sh
# Installs what a build or a test run needs and this machine lacks, with the
# distribution's package manager, and nothing else. Run again, it does nothing.
#
#   deps.sh build    what `make all` needs
#   deps.sh test     that, and what `make check` and `make demo` run
#   deps.sh programs  that, and what the heads of tests/programs name
#   deps.sh newcomer  what scripts/newcomer.sh needs
#   deps.sh mpi      what `make all` and examples/mpi_window.c need
#   deps.sh deb      that, and what builds and checks the Debian packages
#   deps.sh fuzz     what `make fuzz` needs
#   deps.sh analyse  what `make analyse` needs
#   deps.sh valgrind  what the tests need, and valgrind with its headers
#   deps.sh bench    what the tests need, and the allocators `make bench` compares with
set -eu

want=
need() { # need COMMAND PACKAGE
	command -v "$1" >/dev/null 2>&1 || want="$want $2"
}
need_file() { # need_file PACKAGE: a package without a command to look for
	dpkg-query -W -f='${db:Status-Status}\n' "$1" 2>/dev/null | grep -qx installed || want="$want $1"
}

# Names in the head of a program, "THING:PACKAGE": a command, or a pattern for a path.
program_needs() { # program_needs PROGRAM
	set -f
	# shellcheck disable=SC2013 # words
	for pair in $(sed -n '/^[^#]/q; s/^# needs: *//p' "$1"); do
		case $pair in
		/*)
			set +f
			for path in ${pair%:*}; do [ -e "$path" ] || want="$want ${pair##*:}"; done
			set -f
			;;
		*) need "${pair%:*}" "${pair##*:}" ;;
		esac
	done
	set +f
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
	need_file libdw-dev
	need_file libjson-c-dev
	need_file libncurses-dev
	need_file systemtap-sdt-dev # a header: src/probe.h
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
	need gdb gdb
	need ps procps
	need man man-db
	need_file python3-jsonschema
	need_file python3-prometheus-client
	need_file python3-html5lib
	need_file python3-pyte # a terminal, for the screen of shmbind top
	need bindfs bindfs     # tests/region_path.sh
	need_file python3-numpy # examples/python, examples/watch_array.py
	need zsh zsh # tests/completion.sh
	need lua5.4 lua5.4
	need redis-server redis-server
	need redis-benchmark redis-tools
	need memcached memcached
	need cmake cmake
	need clang++ clang
	need_file libc++-dev
	need_file libc++abi-dev
}
programs() {
	tests
	for program in "$(dirname "$0")"/../tests/programs/*; do
		program_needs "$program"
	done
}
newcomer() {
	need debootstrap debootstrap
	need unshare util-linux
	need git git
}
mpi() {
	build
	need mpirun openmpi-bin
	need mpicc libopenmpi-dev
}
deb() {
	tests
	need dh debhelper
	need dpkg-buildpackage dpkg-dev
	need fakeroot fakeroot
	need dh_python3 dh-python
	need lintian lintian
}
fuzz() {
	build
	need clang clang
	need_file libclang-rt-dev
}
analyse() {
	build
	need clang-tidy clang-tidy
	need cppcheck cppcheck
}
valgrind() {
	tests
	need_file valgrind
}
bench() {
	tests
	need_file libjemalloc2
	need_file libmimalloc2.0
	need_file libtcmalloc-minimal4
	need_file libboost-dev
	need_file libmemkind-dev
	need gnuplot gnuplot-nox
	for job in "$(dirname "$0")"/../bench/jobs/*; do
		program_needs "$job"
	done
}

case "${1:-}" in
build) build ;;
test) tests ;;
programs) programs ;;
newcomer) newcomer ;;
mpi) mpi ;;
deb) deb ;;
fuzz) fuzz ;;
analyse) analyse ;;
valgrind) valgrind ;;
bench) bench ;;
*) echo "usage: deps.sh build|test|programs|newcomer|mpi|deb|fuzz|analyse|valgrind|bench" >&2; exit 2 ;;
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
