#!/bin/bash
# What of `make analyse` is quick: cppcheck over all of it.
. "$(dirname "$0")/helpers/script.sh"
if ! command -v cppcheck >/dev/null; then
	echo "no cppcheck here: scripts/deps.sh analyse installs it"
	exit 77
fi
finds() { # finds PATTERN: in a tree with one file, which is wrong
	mkdir -p "$work/tree/src"
	cp -r scripts "$work/tree"
	printf '%s\n' "$2" >"$work/tree/src/wrong.c"
	"$work/tree/scripts/analyse.sh" cppcheck >"$work/err" 2>&1 && return 1
	grep -qF -e "$1" "$work/err"
}
verify "a leak is found" finds '[memleak]' '#include <stdlib.h>
int f(void) { char *p = malloc(3); return p ? 1 : 2; }'
verify "and a descriptor" finds '[resourceLeak]' '#include <fcntl.h>
int f(void) { int fd = open("/", O_RDONLY); return fd < 0 ? 1 : 2; }'
verify "nothing else is" eval 'scripts/analyse.sh cppcheck >"$work/err" 2>&1'
sed 's/^/note: /' "$work/err"
rows_hold
