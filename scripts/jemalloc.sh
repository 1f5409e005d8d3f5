#!/bin/sh
# Builds jemalloc 5.3.0 once, private to this project, into DIR:
#
#   jemalloc.sh DIR     leaves DIR/lib/libjemalloc_pic.a and DIR/include
#
# The source is the distribution's source package, read through a private
# sources list and cache so that the system's own stay as they are; or the
# tarball that JEMALLOC_TARBALL names. Either way its SHA-256 must be ours.
# Why not the packaged libraries: docs/design.md, "The engine".
set -eu

version=5.3.0-1
tarball=jemalloc_5.3.0.orig.tar.bz2
sha256=2db82d1e7119df3e71b7640219b6dfe84789bc0537983c3b7ac4f7189aecfeaa

dir=${1:?usage: jemalloc.sh DIR}
mkdir -p "$dir"
dir=$(cd "$dir" && pwd)
exec 9>"$dir/.lock"
flock 9 # several builds may want it at once
batch=$(cd "$(dirname "$0")/.." && pwd)/src/jemalloc/batch.c
lib=$dir/lib/libjemalloc_pic.a
[ ! "$lib" -nt "$0" ] || [ ! "$lib" -nt "$batch" ] || exit 0
work=$dir/work
rm -rf "$work"
mkdir -p "$work/lists/partial"

fail() {
	echo "jemalloc.sh: $*" >&2
	exit 1
}

private_sources() {
	for f in /etc/apt/sources.list.d/*.sources; do
		[ -f "$f" ] && sed 's/^Types:.*/Types: deb-src/' "$f" && echo
	done >"$work/src.sources"
	for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
		[ -f "$f" ] && sed -n 's/^deb \(.*\)/deb-src \1/p' "$f"
	done >"$work/src.list" || true
}

apt_private() { # one list format after the other: apt reads one file by its name
	list=$1
	shift
	apt-get -q -o Dir::Etc::sourcelist="$work/$list" -o Dir::Etc::sourceparts=/dev/null \
		-o Dir::State::lists="$work/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
		-o APT::Sandbox::User=root "$@"
}

fetch() {
	if [ -n "${JEMALLOC_TARBALL:-}" ]; then
		cp "$JEMALLOC_TARBALL" "$work/$tarball"
		return
	fi
	private_sources
	for list in src.sources src.list; do
		[ -s "$work/$list" ] || continue
		if (cd "$work" && apt_private "$list" update &&
			apt_private "$list" source --download-only "jemalloc=$version") >"$work/apt.log" 2>&1; then
			return
		fi
	done
	echo "jemalloc.sh: no source package jemalloc $version here; name a tarball in JEMALLOC_TARBALL" >&2
	cat "$work/apt.log" >&2
	exit 1
}

fetch
echo "$sha256  $work/$tarball" | sha256sum -c --quiet - || fail "$tarball is not the pinned one"
tar -xjf "$work/$tarball" -C "$work"
cd "$work/jemalloc-5.3.0"
# Filling and emptying magazines in one go takes what jemalloc does not export.
cp "$batch" src/batch.c
sed -i 's|^\(C_SRCS := \)\($(srcroot)\)\(src/jemalloc.c .*\)|\1\2src/batch.c \2\3|' Makefile.in
grep -q '^C_SRCS := $(srcroot)src/batch.c' Makefile.in || fail "its list of sources is not as it was"
./configure --quiet --prefix="$dir" --with-jemalloc-prefix=shmb_je_ --without-export \
	--disable-cxx --disable-cache-oblivious --disable-libdl --disable-initial-exec-tls --disable-shared --disable-fill \
	--with-version=5.3.0-0-g0 \
	CFLAGS="-O3 -g1 -fPIC -fvisibility=hidden -w" >"$work/configure.log" 2>&1 || {
	tail -20 "$work/configure.log" >&2
	exit 1
}
# No thread-local variable of its own: a shared object has one TLS block, and our initial-exec
# pointer puts all of it into the loader's small surplus. It takes pthread keys instead.
sed -i '/^#define JEMALLOC_TLS *$/d' include/jemalloc/internal/jemalloc_internal_defs.h
# No constructor and no fork handlers of its own: the engine starts it with the first small block and calls
# its handlers (src/engine.c), so that a process that needs it not does without its forty pages.
sed -i '/^#define JEMALLOC_HAVE_PTHREAD_ATFORK *$/d' include/jemalloc/internal/jemalloc_internal_defs.h
sed -i '/^JEMALLOC_ATTR(constructor)$/d' src/jemalloc.c
! grep -q '^JEMALLOC_ATTR(constructor)' src/jemalloc.c
# Its fork handlers leave out one lock, of the tree of extents. A child that was forked while another
# thread made a leaf of it would wait for that for ever. Taken where its rank is: before those of bases.
lock=arena_emap_global.rtree.init_lock
sed -i -e "/^_malloc_prefork(void)/,/^}/s/^\tfor (i = 0; i < 9; i++) {\$/&\n\t\tif (i == 6)\n\t\t\tmalloc_mutex_prefork(tsd_tsdn(tsd), \&$lock);/" \
	-e "s/^\tmalloc_mutex_postfork_\(parent\|child\)(tsd_tsdn(tsd), &arenas_lock);/&\n\tmalloc_mutex_postfork_\1(tsd_tsdn(tsd), \&$lock);/" \
	src/jemalloc.c
[ "$(grep -c "$lock" src/jemalloc.c)" = 3 ] || fail "its fork handlers are not as they were"
# Without thread-local variables it also keeps a list, under another lock, of the threads that are at their first
# call, on their stacks. In a child these are not there, and their stacks will be other threads'.
sed -i '/^tsd_postfork_child/,/^}/s/^\tql_new(&tsd_nominal_tsds);/&\n\tql_new(\&tsd_init_head.blocks);\n\tmalloc_mutex_postfork_child(TSDN_NULL, \&tsd_init_head.lock);/' src/tsd.c
[ "$(sed -n '/^tsd_postfork_child/,/^}/p' src/tsd.c | grep -c 'tsd_init_head')" = 2 ] || fail "what it does in a forked child's thread is not as it was"
# A thread without its own (automatic) cache is on the slow path of every call. Our calls want none, so that
# makes no difference to them.
sed -i '/^tsd_local_slow/,/^}/{s/return !tsd_tcache_enabled_get(tsd)$/return tsd_reentrancy_level_get(tsd) > 0;/;/^\t    || tsd_reentrancy/d}' src/tsd.c
[ "$(sed -n '/^tsd_local_slow/,/^}/p' src/tsd.c | grep -c 'return tsd_reentrancy_level_get(tsd) > 0;')" = 1 ] || fail "its slow path is not as it was"
make -j"$(nproc)" build_lib_static >"$work/make.log" 2>&1 || {
	tail -20 "$work/make.log" >&2
	exit 1
}
mkdir -p "$dir/lib" "$dir/include/jemalloc"
cp include/jemalloc/jemalloc.h "$dir/include/jemalloc/"
cp lib/libjemalloc_pic.a "$dir/lib/"
cd "$dir"
rm -rf "$work"
