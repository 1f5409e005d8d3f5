#!/bin/bash
# shmbind save and load: what was saved is what was there; looking at the file;
# a loaded region is one to work with; of a moving heap; where there is no room.
. "$(dirname "$0")/helpers/script.sh"
. tests/helpers/tool.sh

arena=${prefix}arena raw=${prefix}raw saved=$work/saved
"$helper" arena $arena leak >"$work/ref"
"$helper" raw $raw leak >/dev/null
resident() { echo $(($(stat -c '%b * %B' "$1"))); }
blocks() { "$tool" blocks "$1" --json | jq -c '.blocks[] | [.ref, .size, .state]'; }
same_blocks() { cmp -s <(blocks "$1") <(blocks "$2") && [ "$(blocks "$1" | wc -l)" -gt 100 ]; }

# ---- a region at rest ---------------------------------------------------------------

chmod 640 /dev/shm$arena
run save $arena "$saved"
verify "save: says that it is of one moment" eval '[ $status = 0 ] && grep -q "^$arena: saved; nobody was allocating" "$work/out"'
verify "  sparse, with the region's mode, and not to be removed with an owner" eval '[ "$(stat -c %a "$saved")" = 640 ] && [ "$(stat -c %s "$saved")" = "$(stat -c %s /dev/shm$arena)" ] && [ "$(resident "$saved")" -lt 3000000 ]'
verify "  byte for byte" cmp "$saved" /dev/shm$arena
run check "$saved"
verify "check of the file: clean, and who recovers" eval '[ $status = 0 ] && grep -q "^clean: .*by whoever opens it once it is loaded$" "$work/out"'
verify "blocks of the file: the region's" same_blocks $arena "$saved"
run stats "$saved" --json
verify "stats of the file, under its path" eval '[ "$(jq -r .region "$work/out")" = "$saved" ] && [ "$(jq .live_bytes "$work/out")" = "$("$tool" stats $arena --json | jq .live_bytes)" ]'
run map "$saved"
verify "map of the file" eval '[ $status = 0 ] && grep -q "####" "$work/out"'
run cat "$saved" "$(cat "$work/ref")"
verify "cat of a block of the file" [ "$(head -1 "$work/out")" = 'a known pattern' ]

mkdir "$work/dir" && cp --sparse=always "$saved" "$work/dir/${arena#/}"
(cd "$work/dir" && run check ./${arena#/} && [ $status = 0 ])
verify "./NAME is the file in this directory" grep -q '^clean: .*once it is loaded' "$work/out"
(cd "$work" && run check dir/${arena#/} && [ $status = 0 ])
verify "dir/NAME is a path" grep -q '^clean: .*once it is loaded' "$work/out"
(cd "$work/dir" && run check ${arena#/} && [ $status = 0 ])
verify "NAME is the region, whatever lies in this directory" grep -q '^clean: .*by .shmbind gc' "$work/out"

# ---- back ------------------------------------------------------------------------------

run load "$saved" ${prefix}back
verify "load: silent, a region with the same bytes and mode" eval '[ $status = 0 ] && [ ! -s "$work/out" ] && cmp "$saved" /dev/shm${prefix}back && [ "$(stat -c %a /dev/shm${prefix}back)" = 640 ]'
run ls
verify "  nobody's, kept, with one dead in it" grep -qE "^${prefix}back +arena +kept +0 +1 " "$work/out"
verify "  and its blocks" same_blocks "$saved" ${prefix}back
killed attach ${prefix}back kill
run stats ${prefix}back --json
verify "a process attaches, allocates and frees in it; the dead one was recovered" eval '[ "$(jq .recoveries "$work/out")" -ge 1 ] && [ "$(jq .live_bytes "$work/out")" != "$(jq .live_bytes <("$tool" stats "$saved" --json))" ]'
run check ${prefix}back
verify "  check: clean" eval '[ $status = 0 ] && grep -q "^clean: " "$work/out"'
run load "$work/dir/${arena#/}" ${prefix}holes
verify "load of a copy with more holes: the memory is committed all the same" eval '[ $status = 0 ] && [ "$(resident "$work/dir/${arena#/}")" -lt "$(resident /dev/shm$arena)" ] && [ "$(resident /dev/shm${prefix}holes)" -ge "$(resident /dev/shm$arena)" ]'
verify "  and the same" cmp "$saved" /dev/shm${prefix}holes
(cd "$work" && run load saved ${prefix#/}plain && [ $status = 0 ])
verify "load FILE: a path in any form; a name without slash" cmp "$saved" /dev/shm${prefix}plain

# ---- raw ------------------------------------------------------------------------------------

run save $raw "$work/raw"
verify "save of a raw region that nobody has open" eval '[ $status = 0 ] && grep -q "of one moment" "$work/out" && cmp "$work/raw" /dev/shm$raw'
run load "$work/raw" ${prefix}raw-back
verify "load of it" eval '[ $status = 0 ] && cmp "$work/raw" /dev/shm${prefix}raw-back'
run cat "$work/raw"
verify "cat of its file" cmp "$work/out" "$work/raw"

# ---- completion -----------------------------------------------------------------------------

verify "bash completes save: a region, a file" eval 'offers $arena save /shmb && offers dir save $arena d'
verify "bash completes load: a file, then no region that there is" eval 'offers saved load sa && ! offers $arena load saved /shmb'
verify "bash completes check: a region, or a path" eval 'offers $arena check /shmb && offers ./saved check ./s && offers "$saved" check "$work/s"'

# ---- refused ---------------------------------------------------------------------------------

text="$saved: File exists" fails 1 'that there is such a file' save $arena "$saved"
text="${prefix}back: File exists" fails 1 'that there is such a region' load "$saved" ${prefix}back
text="${prefix}none: No such file" fails 1 'which is missing' save ${prefix}none "$work/new"
text="$work/no/new: No such file" fails 1 'which is missing' save $arena "$work/no/new"
text="$work/none: No such file" fails 1 'which is missing' load "$work/none" ${prefix}new
text="a/b: Invalid argument" fails 1 'that it is no name' load "$saved" a/b
text="$work/no/new: No such file" fails 1 'that there is no such directory' load "$saved" "$work/no/new"
: >"$work/empty"
text="$work/empty: " fails 1 'which is empty' load "$work/empty" ${prefix}new
text="$work/dir: No such device" fails 1 'that it is no file' load "$work/dir" ${prefix}new
head -c 5000000 "$saved" >"$work/short"
text="$work/short: the region contradicts itself" fails 1 'that it was cut' load "$work/short" ${prefix}new
{ head -c 8 "$saved"; printf '\143'; tail -c +10 "$saved"; } | cp --sparse=always /dev/stdin "$work/version"
text="$work/version: not an arena" fails 1 'that it is of another version' load "$work/version" ${prefix}new
text='takes NAME FILE' fails 2 'what it takes' save $arena
text='takes FILE NAME' fails 2 'what it takes' load "$saved"
text='--force: no such option' fails 2 --force save --force $arena "$work/new"
text="$work/empty: Operation not permitted" fails 1 'that it removes no file' rm "$work/empty"
verify "nothing was left of all these" eval '[ ! -e "$work/new" ] && [ ! -e /dev/shm${prefix}new ] && [ -e "$saved" ]'
no_room() {
	mount -t tmpfs -o size=600k tmpfs "$work/dir"
	text="$work/dir/new: No space" fails 1 'that there is no room' save $arena "$work/dir/new"
	verify "  and nothing is left" [ -z "$(ls "$work/dir")" ]
	mount -t tmpfs -o size=600k tmpfs /dev/shm
	text="${prefix}new: No space" fails 1 'that there is no room' load "$saved" ${prefix}new
	verify "  and nothing is left" eval '[ -z "$(ls /dev/shm)" ] && [ "$(df --output=used /dev/shm | tail -1)" -lt 10 ]'
}
if unshare -m true 2>"$work/why"; then
	export -f no_room run fails wrong verify
	export tool prefix work arena saved
	rows=$((rows + 1))
	unshare -m bash -eu -c 'failures=0 rows=0; no_room; exit $failures' || failures=$((failures + 1))
else
	echo "note: no room not tried, no mount namespace is to be had here: $(cat "$work/why")"
fi

# ---- of a program at work -------------------------------------------------------------------------

start 1 arena ${prefix}lives wait
run save ${prefix}lives "$work/lives"
verify "save of a living program that does nothing: of one moment, and check accepts it" eval '[ $status = 0 ] && grep -q "of one moment" "$work/out" && "$tool" check "$work/lives" | grep -q "^clean: "'
finish 1
if [ -n "$SAN" ]; then
	echo "note: Python cannot load a library with a sanitizer: a heap at work was not saved"
	rows_hold
	exit
fi
"$tool" run --region ${prefix}ruled --keep --log 0 --place 'a: size=100..200 sample=1/2;b: size=100..300;c: size=64K..' -- \
	/usr/bin/python3 -c 'import os; x = [bytearray(n) for n in [150, 250, 100000] * 2000]; os._exit(0)'
run save ${prefix}ruled "$work/ruled"
run load "$work/ruled" ${prefix}ruled2
ruled() { "$tool" stats "$1" --json | jq -c '[.rules, .classes, .live_bytes]'; }
verify "of a program with rules: these, and what lives of each, in the file and in what is loaded" eval '
	[ "$(ruled "$work/ruled")" = "$(ruled ${prefix}ruled)" ] && [ "$(ruled ${prefix}ruled2)" = "$(ruled ${prefix}ruled)" ] && [ "$(ruled ${prefix}ruled | jq ".[0][2].hits")" -ge 2000 ]'
cat >"$work/churn.py" <<'END'
import ctypes, random, sys
lib = ctypes.CDLL(sys.argv[1])
class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("mode", ctypes.c_uint), ("flags", ctypes.c_uint), ("run", ctypes.c_char_p)]
a = ctypes.c_void_p()
lib.shmb_malloc.restype = ctypes.c_void_p
lib.shmb_malloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
lib.shmb_free.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
assert lib.shmb_arena_open(sys.argv[2].encode(), ctypes.byref(Options(1 << 30, 0, 0, None)), ctypes.byref(a)) == 0
live = [lib.shmb_malloc(a, random.randrange(16, 4000)) for _ in range(20000)]
print("ready", flush=True)
while True:
    i = random.randrange(len(live))
    lib.shmb_free(a, live[i])
    live[i] = lib.shmb_malloc(a, random.randrange(16, 4000))
END
mkfifo "$work/churning"
/usr/bin/python3 "$work/churn.py" "$BUILD/libshmbind.so.0" ${prefix}churn >"$work/churning" &
churn=$!
read -r <"$work/churning"
run save ${prefix}churn "$work/moving"
verify "save of a program at work: says so" eval '[ $status = 0 ] && grep -q "it is of a moving heap" "$work/out"'
run stats "$work/moving" --json
verify "  its statistics are near what lives" [ "$(jq '.live_bytes > 30000000 and .live_bytes < 60000000' "$work/out")" = true ]
run check "$work/moving"
verify "  check ends, with 0 or 3" [ $status = 0 -o $status = 3 ]
for i in 1 2 3 4 5; do
	kill -STOP $churn
	run save ${prefix}churn "$work/stopped$i"
	verify "save of it, stopped, $i: of one moment" eval '[ $status = 0 ] && grep -q "of one moment" "$work/out"'
	run check "$work/stopped$i"
	verify "  check accepts it" eval '[ $status = 0 ] && grep -q "^clean: " "$work/out"'
	kill -CONT $churn
done
run load "$work/stopped5" ${prefix}later
killed attach ${prefix}later kill
run check ${prefix}later
verify "one of these loaded, recovered and worked in: clean" eval '[ $status = 0 ] && grep -q "^clean: " "$work/out" && [ "$("$tool" stats ${prefix}later --json | jq .recoveries)" -ge 1 ]'
{ kill -KILL $churn && wait $churn || true; } 2>/dev/null

rows_hold
