#!/bin/bash
# The Debian packages: built, approved by lintian, installed into a root of their
# own over the machine's (an overlay, gone with this script), used there, removed.
# Minutes: `make check-deb` runs it, `make check` only what costs nothing.
. "$(dirname "$0")/helpers/script.sh"
version=$("$tool" --version | sed 's/.* //')
verify "the package's version is the library's" \
	[ "$(sed -n '1s/.*(\(.*\)).*/\1/p' packaging/debian/changelog)" = "$version" ]
[ $failures = 0 ] || rows_hold
if [ -z "${CHECK_DEB:-}" ]; then
	echo "a package build and lintian take minutes: make check-deb"
	exit 77
fi
debs=$BUILD/deb

if [ -z "${IN_ROOT:-}" ]; then
	scripts/deb.sh "$debs"
	verify "four packages" [ "$(cd "$debs" && echo *[a-z0]_"$version"_*.deb | tr ' ' '\n' | grep -vc dbgsym)" = 4 ]
	lintian --allow-root --fail-on error,warning "$debs"/*.changes >"$work/lintian" 2>&1 || sed 's/^/     /' "$work/lintian"
	verify "lintian has nothing to say" eval '! grep -q "^[EW]:" "$work/lintian"'
	[ $failures = 0 ] || rows_hold
	if ! unshare -m true 2>/dev/null; then
		echo "note: no mount namespace here, the packages were not installed"
		rows_hold
		exit
	fi
	mkdir "$work/mounts" # removed out here, where nothing is mounted in it
	IN_ROOT=$work/mounts unshare --mount --propagation private bash "$0"
	exit
fi

# ---- a root over the machine's; its mounts end with this namespace ------------------

. tests/helpers/root.sh
root=$IN_ROOT/root
mkdir "$IN_ROOT/tmpfs" "$root"
mount -t tmpfs none "$IN_ROOT/tmpfs"
upper=$IN_ROOT/tmpfs/upper
mkdir "$upper" "$IN_ROOT/tmpfs/work"
if ! mount -t overlay -o "lowerdir=/,upperdir=$upper,workdir=$IN_ROOT/tmpfs/work" none "$root" 2>"$work/err"; then
	echo "note: no overlay here, the packages were not installed: $(cat "$work/err")"
	exit
fi
furnish "$root"
in_root() { inside "$root" "$@"; }
sheds() { (cd "$upper" && find . -name '*shmb[i_]*' ! -path './tmp/*' ! -path './var/lib/dpkg/*' ! -path './var/log/*'); }

mkdir -p "$root/tmp/debs"
cp "$debs"/*shmbind*_"$version"_*.deb "$root/tmp/debs/"
rm "$root"/tmp/debs/*dbgsym*
verify "dpkg installs them" in_root sh -c 'dpkg -i /tmp/debs/*.deb >/dev/null'
verify "what is there is as dpkg has it" in_root dpkg --verify shmbind libshmbind0 libshmbind-dev python3-shmbind
verify "the tool" [ "$(in_root shmbind --version)" = "shmbind $version" ]
in_root shmbind run --region "${prefix}deb" --place size=..64K --stats /tmp/stats.json -- sort /etc/passwd >"$work/out" 2>"$work/err" || true
verify "places what an unmodified program allocates" eval 'grep -q "\"hits\":[1-9]" "$root/tmp/stats.json"'
cp examples/explicit_heap.c "$root/tmp/"
cat >"$root/tmp/use.cc" <<'CC'
#include <shmbind.hpp>
int main(int, char **argv)
{
	shmb::arena heap(argv[1], 1 << 24);
	return !heap.is_owner();
}
CC
verify "C builds with the headers, by pkg-config" in_root sh -c \
	'cd /tmp && cc explicit_heap.c $(pkg-config --cflags --libs shmbind) -o heap'
verify "  and runs" in_root sh -c "/tmp/heap ${prefix}heap >/dev/null"
verify "C++ too" in_root sh -c 'cd /tmp && c++ -std=c++17 use.cc $(pkg-config --cflags --libs shmbind) -o use && ./use '"${prefix}cxx"
verify "the program's malloc can be linked" in_root sh -c \
	'cd /tmp && echo "int main(void) { return 0; }" >m.c && cc m.c $(pkg-config --libs shmbind-malloc) -o m && SHMBIND_LOG=0 ./m'
verify "Python imports the module" in_root env -u PYTHONPATH -u LIBSHMBIND /usr/bin/python3 -c \
	"import shmbind; shmbind.Arena('${prefix}py', 1 << 24).close()"
verify "the pages" in_root sh -c 'man -w 1 shmbind >/dev/null && man -w 3 shmb_malloc >/dev/null && man -w 7 shmbind-preload >/dev/null'
verify "completion" in_root bash -c '. /usr/share/bash-completion/completions/shmbind && complete -p shmbind >/dev/null'
verify "no region is left" [ -z "$(ls "$root/dev/shm")" ]
verify "dpkg removes them" in_root sh -c 'dpkg --purge libshmbind-dev shmbind python3-shmbind libshmbind0 >/dev/null'
verify "nothing of them is left" [ -z "$(sheds)" ]
[ -z "$(sheds)" ] || sheds
rows_hold
