#!/bin/bash
# What the artefacts export is what the header declares, no more and no less;
# the shim exports libc entry points only.
#
#   check-symbols.sh BUILD
set -u
cd "$(dirname "$0")/.." || exit 1
build=$1
want=$(grep -v '^ \*\|^typedef' include/shmbind.h | grep -oE '\bshmb_[a-z_]+\(' | tr -d '(' | sort -u)
have=$(nm -D --defined-only "$build/libshmbind.so.0" | awk '$2 ~ /[TDBRVW]/ {print $3}' | sed 's/@.*//' | sort -u)
bad=0
diff <(echo "$want") <(echo "$have") >&2 || { echo "check-symbols: libshmbind.so.0 (>) against shmbind.h (<)" >&2; bad=1; }
static=$(nm --defined-only "$build/libshmbind.a" 2>/dev/null | awk '$2 ~ /[TDBRVW]/ {print $3}' | grep -v '__odr_asan\|^DW.ref' | sort -u)
diff <(echo "$want") <(echo "$static") >&2 || { echo "check-symbols: libshmbind.a (>) against shmbind.h (<)" >&2; bad=1; }
stray=$(nm -D --defined-only "$build/libshmbind-preload.so" | awk '{print $3}' | grep -E 'shmb|je_' | grep -v '__odr_asan')
[ -z "$stray" ] || { echo "check-symbols: the shim exports $stray" >&2; bad=1; }
[ $bad = 0 ] && echo "check-symbols: $(echo "$want" | wc -l) functions, all exported, nothing else"
exit $bad
