#!/bin/bash
# Holds the include hierarchy: check-layers.sh 'LAYER 0 NAMES' 'LAYER 1 NAMES' ...
#
# A file of src/ includes headers of its own layer and of those before it. The
# tool includes only the public header and its own; the preload shim those and
# src/preload_api.h. What the shim records and the tool reads is in
# src/profile_data.h.
set -u
cd "$(dirname "$0")/.." || exit 1
declare -A layer
n=0
for names in "$@"; do
	for name in $names; do layer[$name]=$n; done
	n=$((n + 1))
done
bad=0
complain() { echo "check-layers: $*" >&2; bad=1; }

for file in src/*.[ch]; do
	name=$(basename "$file"); name=${name%.*}
	[[ $name == preload_api || $name == profile_data ]] && continue
	[ -n "${layer[$name]:-}" ] || { complain "$file is in no layer of the Makefile"; continue; }
	for inc in $(sed -n 's/^#include "\(.*\)\.h"/\1/p' "$file"); do
		[ "$inc" = shmbind ] && continue
		[ "$inc" = preload_api ] && continue
		[ -n "${layer[$inc]:-}" ] || { complain "$file includes $inc.h, which is in no layer"; continue; }
		[ "${layer[$inc]}" -le "${layer[$name]}" ] || complain "$file (layer ${layer[$name]}) includes $inc.h (layer ${layer[$inc]})"
	done
done
for file in src/cli/*.[ch] preload/*.[ch]; do
	dir=$(dirname "$file")
	for inc in $(sed -n 's/^#include "\(.*\)"/\1/p' "$file"); do
		case $inc in
		shmbind.h | "$(basename "$inc")") [ "$inc" = shmbind.h ] || [ -e "$dir/$inc" ] ;;
		../src/preload_api.h | ../src/profile_data.h) [ "$dir" = preload ] ;;
		../profile_data.h) [ "$dir" = src/cli ] ;;
		*) false ;;
		esac || complain "$file includes $inc"
	done
done
jemalloc=$(grep -l 'jemalloc/jemalloc.h' src/*.c src/cli/*.c preload/*.c 2>/dev/null | tr '\n' ' ')
[ "$jemalloc" = "src/engine.c " ] || complain "jemalloc is included by: $jemalloc"
[ $bad = 0 ] && echo "check-layers: $(ls src/*.[ch] src/cli/*.[ch] preload/*.[ch] | wc -l) files, every include points down"
exit $bad
