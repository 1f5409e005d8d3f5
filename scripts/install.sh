#!/bin/sh
# Puts the built tree where it is used from, or takes it away again:
#
#   install.sh install|uninstall BUILD
#
# with PREFIX, DESTDIR, LIBDIR and the other directories of the Makefile in the
# environment. tree() says once what goes where; both verbs go through it.
set -eu
verb=${1:?usage: install.sh install|uninstall BUILD}
build=${2:?usage: install.sh install|uninstall BUILD}
cd "$(dirname "$0")/.."
made=$build/package
version=$(sed -n 's/^.define SHMB_VERSION_[MP][A-Z]* //p' include/shmbind.h | paste -sd.)

tree() {
	put 755 "$build/libshmbind.so.0" "$LIBDIR/libshmbind.so.$version"
	link "libshmbind.so.$version" "$LIBDIR/libshmbind.so.0"
	link libshmbind.so.0 "$LIBDIR/libshmbind.so"
	put 644 "$build/libshmbind.a" "$LIBDIR/libshmbind.a"
	put 755 "$build/libshmbind-preload.so" "$LIBDIR/libshmbind-preload.so"
	link libshmbind-preload.so "$LIBDIR/libshmbind-malloc.so" # the name to link it by
	put 755 "$build/shmbind" "$BINDIR/shmbind"
	for file in include/*.h include/*.hpp; do
		[ ! -e "$file" ] || put 644 "$file" "$INCLUDEDIR/${file##*/}"
	done
	for file in shmbind shmbind-malloc; do
		make_file "$file.pc" "$LIBDIR/pkgconfig"
	done
	for file in shmbindConfig.cmake shmbindConfigVersion.cmake; do
		make_file "$file" "$LIBDIR/cmake/shmbind"
	done
	put 644 scripts/shmbind-gdb.py "$PREFIX/share/shmbind/shmbind-gdb.py"
	put 644 docs/stats.schema.json "$PREFIX/share/shmbind/stats.schema.json"
	put 644 packaging/shmbind.bash "$BASHDIR/shmbind"
	put 644 packaging/_shmbind "$ZSHDIR/_shmbind"
	put 644 examples/python/shmbind.py "$(python_dir)/shmbind.py"
	pages
}

# Of the directories that python3 looks into by itself the first under PREFIX, else the usual name for one.
python_dir() {
	[ -z "$PYTHONDIR" ] || { echo "$PYTHONDIR"; return; }
	for python in python3 /usr/bin/python3; do
		dir=$($python -c 'import site, sys
print(next(d for d in site.getsitepackages() if d.startswith(sys.argv[1] + "/lib")))' "$PREFIX" 2>/dev/null) && echo "$dir" && return
	done
	echo "$PREFIX/lib/python3/dist-packages"
}

# Each page, and a name of its own for every further function that it describes.
pages() {
	for file in docs/man/*.[137]; do
		section=${file##*.} page=${file##*/}
		put 644 "$file" "$MANDIR/man$section/$page"
		for name in $(sed -n '/^\.Sh NAME/,/^\.Nd/s/^\.Nm \([a-z_.-]*\).*/\1/p' "$file"); do
			[ "$name.$section" = "$page" ] || link "$page" "$MANDIR/man$section/$name.$section"
		done
	done
}

# ---- what is made for the place it goes to

relative() { realpath -ms --relative-to="$1" "$2"; }

make_file() { # make_file NAME DIRECTORY
	mkdir -p "$made"
	sed -e "s|@PREFIX@|$PREFIX|" -e "s|@LIBDIR@|$LIBDIR|" -e "s|@INCLUDEDIR@|$INCLUDEDIR|" \
		-e "s|@VERSION@|$version|" -e "s|@MAJOR_MINOR@|${version%.*}|" \
		-e "s|@TO_LIB@|$(relative "$2" "$LIBDIR")|" -e "s|@TO_INCLUDE@|$(relative "$2" "$INCLUDEDIR")|" \
		"packaging/$1.in" >"$made/$1"
	put 644 "$made/$1" "$2/$1"
}

# ---- both ways

case $verb in
install)
	put() { # put MODE FILE DESTINATION
		install -d "$DESTDIR${3%/*}"
		install -m "$1" "$2" "$DESTDIR$3"
	}
	link() { # link TARGET DESTINATION
		install -d "$DESTDIR${2%/*}"
		ln -sf "$1" "$DESTDIR$2"
	}
	tree
	;;
uninstall)
	# Directories that are empty then go too, but not those that a system has of itself.
	forget() {
		rm -f "$DESTDIR$1"
		dir=${1%/*}
		while [ "$dir" != "$PREFIX" ] && [ -n "$dir" ]; do
			case $PREFIX:$dir in
			/usr:*/shmbind | /usr/local:*/shmbind) ;;
			/usr:* | /usr/local:*) break ;;
			esac
			rmdir "$DESTDIR$dir" 2>/dev/null || break
			dir=${dir%/*}
		done
	}
	put() {
		case $3 in
		*.py) # what Python made of it where it was imported
			module=${3##*/}
			for cached in "$DESTDIR${3%/*}/__pycache__/${module%.py}".*.pyc; do
				[ ! -e "$cached" ] || forget "${cached#"$DESTDIR"}"
			done
			rmdir "$DESTDIR${3%/*}/__pycache__" 2>/dev/null || true
			;;
		esac
		forget "$3"
	}
	link() { forget "$2"; }
	tree
	;;
*)
	echo "usage: install.sh install|uninstall BUILD" >&2
	exit 2
	;;
esac
