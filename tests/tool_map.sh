#!/bin/bash
# shmbind map: cells, sums, colour, and the picture, of a living region, a dead
# owner's and an empty one.
. "$(dirname "$0")/helpers/script.sh"
. tests/helpers/tool.sh

arena=${prefix}arena
"$helper" arena $arena leak >"$work/ref"
blocks_of() { "$tool" blocks "$1" --json | jq "[.blocks[] | select(.state == \"$2\").size] | add // 0"; }

# ---- plain ------------------------------------------------------------------------

run map $arena
verify "map: capacity and the size of a cell" eval '[ $status = 0 ] && grep -qx "$arena: 4.0 MiB for blocks; a cell is 4.0 KiB" "$work/out"'
verify "map: no colour where it is no terminal" eval '! grep -q "$(printf "\033")" "$work/out"'
cells() { sed -n 's/^ *0x[0-9a-f]*  //p' "$work/out"; }
verify "map: live cells, cached ones, free ones" eval 'cells | grep -q "####" && cells | grep -q c && cells | grep -q "[.:]"'
verify "map: lines that fit 80 columns" eval '[ "$(awk "{ if (length > n) n = length } END { print n }" "$work/out")" -le 80 ] && [ "$(cells | wc -l)" -gt 1 ]'
first=$(sed -n 's/^ *\(0x[0-9a-f]*\)  .*/\1/p' "$work/out" | head -1)
lowest=$("$tool" blocks $arena --json | jq -r '.blocks[0].ref')
verify "map: begins with the cell of the first block" [ $((lowest - first)) -lt 4096 -a $((lowest)) -ge $((first)) ]
run map $arena --width 20
verify "map --width 20: lines of 20" [ "$(cells | head -1 | wc -c)" = 21 ]
run map $arena --width=1
verify "map --width=1: cells grow until 16 lines hold all" eval '[ "$(cells | wc -l)" -le 16 ] && grep -q "a cell is 128 KiB" "$work/out"'

# ---- the sums are those of the blocks ---------------------------------------------------

run map $arena --svg
cp "$work/out" "$work/map.svg"
cat >"$work/svg.py" <<'END'
import re, sys, xml.etree.ElementTree as E
root = E.parse(sys.argv[1]).getroot()
ns = "{http://www.w3.org/2000/svg}"
assert root.tag == ns + "svg", root.tag
unit = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
sums = {}
for g in root.findall(ns + "g"):
    for n, u, share in re.findall(r"([\d.]+) (\w+) (live|cached|stray|free)", g.find(ns + "title").text):
        sums[share] = sums.get(share, 0) + float(n) * unit[u]
    full, *parts = g.findall(ns + "rect")
    high = sum(float(p.get("height")) for p in parts)
    assert high <= float(full.get("height")) + 0.05, high
print(root.find(ns + "title").text)
for share, want in zip(("live", "cached"), sys.argv[2:]):
    assert abs(sums[share] - int(want)) <= int(want) * 0.02, (share, sums[share], want)
END
verify "map --svg: XML; its squares add up to the live and cached blocks" \
	eval '[ $status = 0 ] && [ "$(/usr/bin/python3 "$work/svg.py" "$work/map.svg" "$(blocks_of $arena live)" "$(blocks_of $arena cached)")" = "$arena" ]'

# ---- colour ---------------------------------------------------------------------------

LC_ALL=C.UTF-8 run map $arena --color always
verify "map --color always: eighths of a block, in colour, and back" eval 'grep -q "$(printf "\033\[32;[0-9]*m█")" "$work/out" && [ "$(grep -c "$(printf "\033\[0m$")" "$work/out")" -ge 2 ]'
LC_ALL=C run map $arena --color=always
verify "  letters on colour where the terminal has no such characters" eval 'grep -q "$(printf "\033\[30;42m#")" "$work/out" && ! grep -qP "[^\x00-\x7f]" "$work/out"'
if has_terminal; then
	LC_ALL=C.UTF-8 script -qec "'$tool' map $arena" /dev/null >"$work/out" </dev/null
	verify "map on a terminal: coloured" grep -q "$(printf '\033\[32;')" "$work/out"
	script -qec "'$tool' map $arena --color never" /dev/null >"$work/out" </dev/null
	verify "map --color never, there: not" eval '! grep -q "$(printf "\033\[32;")" "$work/out" && grep -q "####" "$work/out"'
fi

# ---- what there is to look at -----------------------------------------------------------

killed arena ${prefix}dead kill
run map ${prefix}dead
verify "map of what a killed owner left" eval '[ $status = 0 ] && cells | grep -q "####"'
cat >"$work/empty.py" <<'END'
import ctypes, sys
lib = ctypes.CDLL(sys.argv[1])
class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_size_t), ("mode", ctypes.c_uint), ("flags", ctypes.c_uint), ("run", ctypes.c_char_p)]
a = ctypes.c_void_p()
lib.shmb_arena_region.restype = ctypes.c_void_p
assert lib.shmb_arena_open(sys.argv[2].encode(), ctypes.byref(Options(1 << 30, 0, 0, None)), ctypes.byref(a)) == 0
assert lib.shmb_region_leak(ctypes.c_void_p(lib.shmb_arena_region(a))) == 0
END
if [ -z "$SAN" ]; then
	/usr/bin/python3 "$work/empty.py" "$BUILD/libshmbind.so.0" ${prefix}empty
	run map ${prefix}empty
	verify "map of an arena without a block: no cells, all free" eval '[ $status = 0 ] && [ -z "$(cells)" ] && grep -qx "1.0 GiB free beyond" "$work/out"'
	run map ${prefix}empty --svg
	verify "  and as a picture" eval '[ $status = 0 ] && /usr/bin/python3 "$work/svg.py" "$work/out" >/dev/null'
fi
"$helper" raw ${prefix}raw leak >/dev/null
text='not an arena' fails 1 'that it is no arena' map ${prefix}raw
text='No such file' fails 1 'that there is none' map ${prefix}none
text='takes one region' fails 2 'what it takes' map
text='takes one region' fails 2 'what it takes' map $arena $arena
text='--hue: no such option' fails 2 --hue map $arena --hue
text='takes a number from 1 to 512' fails 2 'which widths' map $arena --width 0
text='takes a number from 1 to 512' fails 2 'which widths' map $arena --width 12x
text='takes a number of cells' fails 2 'what --width takes' map $arena --width
text='takes auto, always or never' fails 2 'which colours' map $arena --color red
text='takes no value' fails 2 'that it takes none' map $arena --svg=x
verify "bash completes map: the verb, its options, their words, regions" eval '
	offers map ma && offers --svg map $arena --s && offers always map --color "" && offers $arena map /shmb'
status=0
"$tool" map $arena --svg >/dev/full 2>"$work/err" || status=$?
verify "map to a full device: status 1, says so" eval '[ $status = 1 ] && [ -s "$work/err" ]'

rows_hold
