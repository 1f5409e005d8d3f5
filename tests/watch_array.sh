#!/bin/bash
# examples/watch_array.py draws what examples/fill_array.py is filling: rows
# come in from picture to picture, the last sum is the program's own, and
# nothing was copied: the watcher has no memory of its own of that size, and
# cannot write to what it has.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
if ! /usr/bin/python3 -c 'import numpy' 2>/dev/null; then
	echo "no /usr/bin/python3 with numpy"
	exit 77
fi
export PATH=$PWD/$BUILD:$PATH LIBSHMBIND=$PWD/$BUILD/libshmbind.so.0
region=${prefix}array
fail() { echo "FAIL $*"; tail -3 "$work/fill" "$work/watch"; exit 1; }

mkfifo "$work/in"
exec 7<>"$work/in"
shmbind run --log 0 --region $region --place 'size=1M..' -- /usr/bin/python3 examples/fill_array.py 2000 3 <&7 >"$work/fill" &
filler=$!
/usr/bin/python3 examples/watch_array.py $region 2000x2000 12 0.4 >"$work/watch" 2>&1 &
watcher=$!
until grep -q 'rows begun' "$work/watch"; do sleep 0.05; kill -0 $watcher || fail "the watcher gave up"; done
cp /proc/$watcher/smaps /proc/$watcher/maps "$work/"
wait $watcher || fail "the watcher failed"
echo >&7
wait $filler || fail "the program failed"

sum=$(sed -n 's/^filled: \(.*\);.*/\1/p' "$work/fill")
[ -n "$sum" ] && [ "$(sed -n 's/^watched: //p' "$work/watch")" = "$sum" ] || fail "another sum than $sum"
echo "ok   the last picture's sum is the program's: $sum"

mapfile -t rows < <(sed -n 's/.*rows begun \([0-9]*\) of.*/\1/p' "$work/watch")
[ ${#rows[@]} = 12 ] && [ "${rows[0]}" -lt "${rows[2]}" ] && [ "${rows[2]}" -lt 2000 ] && [ "${rows[11]}" -ge 1990 ] || fail "rows ${rows[*]}"
echo "ok   rows came in while it watched: ${rows[*]}"

grep "/dev/shm$region" "$work/maps" | grep -qv '^[0-9a-f-]* r--s' && fail "mapped for more than reading"
grep -q "/dev/shm$region" "$work/maps" || fail "not mapped"
echo "ok   the region is mapped for reading only"

private=$(awk '/^[0-9a-f]+-/ { shm = /\/dev\/shm/ } /^Private_Dirty|^Anonymous/ && !shm { if ($2 > most) most = $2 } END { print most + 0 }' "$work/smaps")
[ "$private" -lt 31250 ] || fail "the watcher has $private KiB of its own in one piece: a copy"
echo "ok   no copy: of its own the watcher has at most $private KiB in one piece, the array has 31250"
[ ! -e /dev/shm$region ] || fail "the region was left"
