#!/bin/bash
# The gdb command `shmbind`, on a program with two regions, on one whose name is
# gone, and on what it left when it crashed.
. "$(dirname "$0")/helpers/script.sh"
[ -z "$SAN" ] || { echo "a sanitizer's own signals and mappings are in gdb's way"; exit 77; }
export SHMBIND=$tool LC_ALL=C

cat >"$work/program.c" <<'C'
#include <shmbind.h>
#include <stdlib.h>
#include <string.h>

char *text, *freed;
void stop(void) { }

int main(int argc, char **argv)
{
	shmb_options opt = {.size = 1 << 20};
	shmb_arena *a;
	shmb_region *r;
	if (argc != 4 || shmb_arena_open(argv[1], &opt, &a) || shmb_region_open(argv[2], &opt, &r))
		return 1;
	text = strcpy(shmb_malloc(a, 5000), "in the heap");
	freed = shmb_malloc(a, 300);
	shmb_free(a, freed);
	stop();
	if (!strcmp(argv[3], "abort"))
		abort();
	shmb_remove_name(argv[1]);
	stop();
	return shmb_region_close(r) || shmb_arena_close(a);
}
C
"$CC" -g -O0 -Wall -Werror -Iinclude "$work/program.c" "$BUILD/libshmbind.so.0" -Wl,-rpath,"$PWD/$BUILD" -o "$work/program"
name=${prefix}gdb-arena raw=${prefix}gdb-raw

debug() { # debug HOW GDB-COMMAND...: at each stop()
	local how=$1 command
	shift
	set -- -ex 'set debuginfod enabled off' -ex 'set startup-with-shell off' -ex 'break stop' -ex "run $name $raw $how" "$@"
	timeout 120 gdb -nx -batch -x scripts/shmbind-gdb.py "$@" "$work/program" >"$work/out" 2>"$work/err" </dev/null || true
	cat "$work/err" >>"$work/out"
}
has() { grep -qE -e "$1" "$work/out"; }

debug quit -ex 'help shmbind' -ex shmbind -ex 'shmbind block text + 7' -ex 'shmbind block freed' -ex 'shmbind block &text' \
	-ex "shmbind stats $name" -ex "shmbind map ${name#/}" -ex "shmbind check $name" -ex "shmbind blocks $name" \
	-ex 'shmbind stats' -ex "shmbind stats $raw" -ex 'shmbind stats none' -ex 'shmbind nonsense' -ex kill
if grep -qiE 'ptrace: |Operation not permitted' "$work/out"; then
	echo "gdb may not debug here: $(grep -iE -m1 'ptrace: |Operation not permitted' "$work/out")"
	exit 77
fi
verify "help shmbind" has 'Shows the shared-memory regions of the program'
verify "shmbind: the arena, with what is live" has "^0x[0-9a-f]+-0x[0-9a-f]+ $name: arena, 5120 bytes live, [0-9]+ cached, 1 attached$"
verify "  and the raw region, each once" eval 'has "^0x[0-9a-f]+-0x[0-9a-f]+ $raw: raw$" && [ "$(grep -cE "^0x[0-9a-f]+-0x" "$work/out")" = 2 ]'
verify "shmbind block: of an address inside a live one" has ": byte 7 of a live block of 5120 bytes, $name ref 0x[0-9a-f]+, in memory of process [1-9]"
verify "  of one that is free" has ": byte 0 of a cached block of 320 bytes, "
verify "  of one that is the program's own" has "in no region$"
verify "shmbind stats" has "^region $name: 1\.0 MiB for blocks, made by program "
verify "shmbind map" has "^$name: 1\.0 MiB for blocks; a cell is"
verify "shmbind check" has '^clean: live 5\.0 KiB '
verify "shmbind blocks" has '^ *0x[0-9a-f]+ +5120 live +[1-9]'
verify "two regions, no name: which?" has "which region\? .*$name"
verify "a raw one: the tool's complaint, with the region's name" has "$raw: not an arena"
verify "another's name" has 'none: the program has no such region mapped'
verify "what it does not understand" has 'usage: shmbind \[block'
verify "the tool it asks is no program's name in the output" eval '! has map_files'

rm -f /dev/shm$name /dev/shm$raw
debug quit -ex continue -ex shmbind -ex continue
first=$(ls /proc/$$/map_files 2>/dev/null | head -1)
if [ -n "$first" ] && [ -r "/proc/$$/map_files/$first" ]; then
	verify "a region whose name is gone is still found" has "^0x[0-9a-f]+-0x[0-9a-f]+ /#[0-9]+ \(deleted\): arena, 5120 bytes live"
else
	verify "a region whose name is gone: says that it cannot be read" has "/#[0-9]+ \(deleted\): .*its file cannot be read"
fi
verify "  and the program ends as it would" has 'exited normally'

mkdir /dev/shm${prefix}there
shm=$name name=/dev/shm${prefix}there/arena
debug quit -ex shmbind -ex 'shmbind block text' -ex "shmbind check $name" -ex kill
verify "an arena of another directory, by its path" \
	eval 'has "^0x[0-9a-f]+-0x[0-9a-f]+ $name: arena, 5120 bytes live" && has ": byte 0 of a live block of 5120 bytes, $name ref" && has "^clean: live 5\.0 KiB "'
name=$shm
rm -f /dev/shm$raw

debug abort -ex continue -ex "generate-core-file $work/core" -ex kill
if [ -s "$work/core" ]; then
	timeout 120 gdb -nx -batch -x scripts/shmbind-gdb.py -ex shmbind -ex "shmbind block text" "$work/program" "$work/core" >"$work/out" 2>&1 </dev/null || true
	verify "of a core file: the region that the crash left, and a block of it" \
		eval 'has "^0x[0-9a-f]+-0x[0-9a-f]+ $name: arena, 5120 bytes live, [0-9]+ cached, 0 attached$" && has "byte 0 of a live block of 5120 bytes, $name ref .*, in memory of a process that has ended$"'
else
	echo "note: gdb wrote no core file"
fi
timeout 60 gdb -nx -batch -x scripts/shmbind-gdb.py -ex shmbind >"$work/out" 2>&1 </dev/null || true
verify "without a program: says so" has 'no process'
rows_hold
