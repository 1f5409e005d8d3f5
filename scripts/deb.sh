#!/bin/bash
# Builds the Debian packages into DIR, from the files of this tree:
#
#   deb.sh DIR
#
# The package build gets the jemalloc that make built from the pinned source, so
# that it needs no network.
set -eu
cd "$(dirname "$0")/.."
dir=${1:?usage: deb.sh DIR}
version=$(sed -n 's/^.define SHMB_VERSION_[MP][A-Z]* //p' include/shmbind.h | paste -sd.)
packaged=$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)
[ "$packaged" = "$version" ] || {
	echo "deb.sh: packaging/debian/changelog is of $packaged, include/shmbind.h of $version" >&2
	exit 1
}
tree=$dir/shmem-bind-$version
rm -rf "$dir"
mkdir -p "$tree/build"
if [ -e .git ]; then git ls-files -z; else find . -path './build*' -prune -o -type f -print0; fi |
	tar -c --null -T - | tar -x -C "$tree"
cp -r packaging/debian "$tree/debian"
cp -r build/jemalloc "$tree/build/"
touch "$tree/build/jemalloc/lib/libjemalloc_pic.a" # newer than its script, so it is not built again
cd "$tree"
# what the caller's make was told is not the package's business
unset MAKEFLAGS MFLAGS MAKELEVEL CFLAGS LDFLAGS CC SAN DEBUG WERROR BUILD DESTDIR PREFIX
dpkg-buildpackage -b -us -uc -rfakeroot --jobs="$(nproc)" >../build.log 2>&1 || {
	tail -30 ../build.log >&2
	exit 1
}
cd ..
rm -rf "shmem-bind-$version"
ls ./*.deb
