#!/bin/bash
# Regions in a directory of any mounted file system: a second tmpfs, whatever
# /tmp is, hugetlbfs where there are huge pages to be had, and one without unnamed
# files. Each with the library, the shim and the tool; then directories that are none.
if [ "${1:-}" != alone ] && unshare -m true 2>/dev/null; then
	exec unshare -m bash "$0" alone
fi
alone=${1:-}
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helpers=$PWD/$BUILD/tests/helpers
export SHMBIND_LOG=0 PYTHONPATH=$PWD/examples/python LIBSHMBIND=$PWD/$BUILD/libshmbind.so.0
unset SHMBIND_PATH
mounts=() pages=0
leave() {
	local at
	for at in "${mounts[@]}"; do umount "$at"; done
	[ $pages = 0 ] || echo $(($(cat /proc/sys/vm/nr_hugepages) - pages)) >/proc/sys/vm/nr_hugepages
	rm -rf --one-file-system "$work" "/dev/shm$prefix"*
}
trap leave EXIT

mounted() { # mounted DIR mount-arguments...: and unmounted at the end, before anything is removed
	mkdir "$1" && mount "${@:2}" "$1" 2>"$work/err" || { rmdir "$1"; return 1; }
	mounts+=("$1")
}
empty() { [ -z "$(ls -A "$1")" ]; }

program='
import os, sys
kept = [bytearray(5000) for i in range(300)] + [bytearray(3 << 20)]
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    kept[0][0] = 9
    own = [bytearray(5000) for i in range(300)]
    os.write(w, b"x")
    os._exit(sys.stdin.read(1) != "")
os.read(r, 1)
print("ready", pid, flush=True)
sys.stdin.read()
print(os.waitpid(pid, 0)[1], kept[0][0])
'

# A program with a region in the directory, and its forked child's, while they live.
shim_rows() { # shim_rows DIR WHAT WRAP...
	local dir=$1 what=$2 word child
	coproc RUN { exec "${@:3}" "$tool" run --path "$dir" --region '/feed.%p' --size 64M --place 'size=1K..' -- /usr/bin/python3 -c "$program" 2>"$work/err"; }
	exec 7<&"${RUN[0]}" 8>&"${RUN[1]}"
	eval "exec ${RUN[1]}>&-"
	read -r -u 7 -t 60 word child || word=nothing
	"$tool" ls --path "$dir" --json >"$work/ls" || true
	verify "$what: the program's region, and its child's" [ "$word $(jq -r '[.regions[] | .kind, .owner[:3]] | join(" ")' "$work/ls")" = 'ready arena pid arena pid' ]
	verify "$what: named by their paths" [ "$(jq -r '.regions[].name' "$work/ls" | grep -c "^$dir/feed\.[0-9]*$")" = 2 ]
	verify "$what: check, by a name and --path" eval '"$tool" check --path "$dir" "feed.$child" >"$work/check" && grep -q "^clean: live 1" "$work/check"'
	verify "$what: stats, by a name and SHMBIND_PATH" eval 'SHMBIND_PATH=$dir "$tool" stats "/feed.$child" | grep -q "^region $dir/feed.$child: 64.0 MiB"'
	verify "$what: blocks, by the whole path" eval '"$tool" blocks "$dir/feed.$child" | grep -q " 5120 live "'
	verify "$what: map" eval '"$tool" map --path "$dir" "feed.$child" | grep -q "^$dir/feed.$child: "'
	verify "$what: rules" eval '"$tool" rules --path "$dir" "feed.$child" --set "size=2K.." && "$tool" rules --path "$dir" "feed.$child" | grep -q "size=2K"'
	verify "$what: top lists both, and shows the one that is asked for" \
		eval '[ "$("$tool" top --path "$dir" --once "feed.$child" | grep -c "^[> ] /feed.*arena pid\|^$dir/feed.$child: ")" = 3 ]'
	verify "$what: none of it is in /dev/shm" nothing_left
	exec 8>&-
	read -r -u 7 -t 60 word
	exec 7<&-
	verify "$what: the child's writes are its own" [ "$word" = '0 0' ]
	wait $!
	verify "$what: all is removed at their ends" empty "$dir"
}

# What kills and restarts leave, and who clears it up.
kinds='raw arena'
death_rows() { # death_rows DIR WHAT WRAP...
	local dir=$1 what=$2 kind wrap=("${@:3}")
	for kind in $kinds; do
		"${wrap[@]}" "$helpers/region_exit" "$dir/it" $kind return
		verify "$what, $kind: gone at a normal end" empty "$dir"
		("${wrap[@]}" "$helpers/region_exit" "$dir/it" $kind sigkill; exit $?) 2>/dev/null || true
		verify "$what, $kind: a kill leaves the name, and no other" [ "$(ls -A "$dir")" = it ]
		verify "$what, $kind: the next open claims it" [ "$("${wrap[@]}" "$helpers/region_exit" "$dir/it" $kind open)" = claimed ]
		("${wrap[@]}" "$helpers/region_exit" "$dir/it" $kind sigkill; exit $?) 2>/dev/null || true
		verify "$what, $kind: gc --path removes it" eval '"$tool" gc --path "$dir" >"$work/gc" && grep -q "^$dir/it: removed" "$work/gc" && empty "$dir"'
		("${wrap[@]}" "$helpers/region_exit" "$dir/it" $kind sigkill reaper; exit $?) 2>/dev/null || true
		for _ in $(seq 100); do empty "$dir" && break; sleep 0.05; done
		verify "$what, $kind: the reaper removes it" empty "$dir"
		verify "$what, $kind: of two that race one creates it" eval '"${wrap[@]}" "$helpers/region_race" "$dir/it" $kind 50 >"$work/race" 2>&1 && empty "$dir" || { cat "$work/race"; ls -A "$dir"; false; }'
	done
	(SHMBIND_PATH=$dir SHMBIND_REGION=feed SHMBIND_PLACE=all SHMBIND_SIZE=32M LD_PRELOAD=$shim "${wrap[@]}" sh -c 'kill -9 $$') 2>/dev/null || true
	verify "$what, shim: gc, told by SHMBIND_PATH" eval '[ "$(ls -A "$dir")" = feed ] && SHMBIND_PATH=$dir "$tool" gc >"$work/gc" && empty "$dir"'
	"$tool" run --path "$dir" --region feed --size 32M --place all -- "${wrap[@]}" sh -c 'kill -9 $$' 2>/dev/null || true
	verify "$what: run removes what a killed command left" empty "$dir"
	"$tool" run --path "$dir" --region feed --size 32M --place all --keep -- sh -c true
	verify "$what: kept is kept; rm removes it" eval '"$tool" gc --path "$dir" >"$work/gc" && [ -e "$dir/feed" ] && "$tool" rm --path "$dir" feed && empty "$dir"'
}

library_rows() { # library_rows DIR WHAT
	local dir=$1 what=$2
	verify "$what: from Python; the name is the path" [ "$(/usr/bin/python3 -c 'import shmbind, sys
with shmbind.Arena(sys.argv[1] + "/py", 1 << 24) as heap, heap.find_or_new("n", shmbind.Type("int[4]", 16, align=4)) as box:
    box.array("i4")[:] = 7
    with shmbind.Arena(sys.argv[1] + "/py", 0) as again:
        print(heap.name, again.find("n", shmbind.Type("int[4]", 16, align=4)).array("i4").sum())' "$dir" 2>&1)" = "$dir/py 28" ]
	"$tool" run --path "$dir" --region feed --size 16M --place all --keep -- sh -c true
	verify "$what: save and load" eval '"$tool" save --path "$dir" feed "$work/saved" >"$work/out" && "$tool" load --path "$dir" "$work/saved" again 2>"$work/err" &&
		"$tool" check "$dir/again" >"$work/out" && "$tool" rm "$dir/again" "$dir/feed" && rm "$work/saved" && empty "$dir"'
}

full_rows() { # full_rows DIR WHAT: one of at most 48 MiB
	local dir=$1
	verify "$2: full is the ordinary heap's turn, not SIGBUS" eval '"$tool" run --path "$dir" --region feed --size 256M --place size=64K.. --stats "$work/full.json" -- \
		/usr/bin/python3 -c "kept = [bytearray(b\"x\") * (1 << 20) for i in range(100)]" && [ "$(jq ".rules[0].fallbacks > 30 and .rules[0].hits > 90" "$work/full.json")" = true ]'
	verify "$2: and all came back" empty "$dir"
}

# ---- file systems ---------------------------------------------------------------------

mkdir "$work/disk" "$work/plain"
disk=$(stat -f -c %T "$work")
if [ "$disk" != overlayfs ]; then
	shim_rows "$work/disk" "$disk"
	death_rows "$work/disk" "$disk"
	library_rows "$work/disk" "$disk"
else
	echo "note: $work is on overlayfs, which has no regions: no disk was tried"
fi

if [ "$disk" = overlayfs ]; then
	:
elif "$helpers/without_tmpfile" true 2>/dev/null; then
	shim_rows "$work/plain" 'no unnamed files' "$helpers/without_tmpfile"
	death_rows "$work/plain" 'no unnamed files' "$helpers/without_tmpfile"
else
	echo "note: no filter of system calls here: a file system without unnamed files was not tried"
fi

if [ "$alone" ] && mounted "$work/tmpfs" -t tmpfs -o size=48m none; then
	shim_rows "$work/tmpfs" tmpfs
	death_rows "$work/tmpfs" tmpfs
	library_rows "$work/tmpfs" tmpfs
	full_rows "$work/tmpfs" tmpfs
	mount --bind "$work/tmpfs" "$work/plain"
	coproc PEER { exec /usr/bin/python3 -c 'import shmbind, sys
for opens in shmbind.Arena, shmbind.Region:
    opens(sys.argv[1] + "/it", 1 << 20).close()
print("closed", flush=True)
sys.stdin.read()' "$work/plain"; }
	read -r -u "${PEER[0]}" -t 60 word || word=nothing
	verify "who has closed its regions does not keep the file system busy" eval '[ "$word" = closed ] && umount "$work/plain" 2>"$work/err"'
	eval "exec ${PEER[1]}>&-"
	wait $PEER_PID
	mkdir "$work/tmpfs/jail"
	"$tool" run --path "$work/tmpfs" --region feed --place all --size 16M -- /usr/bin/python3 -c 'import os, sys; os.chroot(sys.argv[1]); os.chdir("/")' "$work/tmpfs/jail"
	(SHMBIND_PATH=$work/tmpfs SHMBIND_REGION=feed SHMBIND_PLACE=all SHMBIND_SIZE=16M LD_PRELOAD=$shim /usr/bin/python3 -c 'import os, sys; os.chroot(sys.argv[1])' "$work/tmpfs/jail")
	verify "an owner that has changed its root unlinks it all the same" [ "$(ls -A "$work/tmpfs")" = jail ]
else
	echo "note: no mount namespace here: a tmpfs, a full one, a read-only one were not tried"
fi

huge_pages() { # so many of 2 MiB are free, if they can be had
	local before after
	before=$(cat /proc/sys/vm/nr_hugepages) && echo $((before + $1)) >/proc/sys/vm/nr_hugepages && after=$(cat /proc/sys/vm/nr_hugepages) || return
	pages=$((after - before))
	[ $pages = "$1" ]
} 2>/dev/null
if [ "$alone" ] && huge_pages 72 && mounted "$work/huge" -t hugetlbfs -o pagesize=2M,size=144M,mode=1777 none; then
	shim_rows "$work/huge" hugetlbfs
	kinds=arena
	death_rows "$work/huge" hugetlbfs
	library_rows "$work/huge" hugetlbfs
	verify "hugetlbfs: a raw region is of whole huge pages, or EINVAL" [ "$(/usr/bin/python3 -c 'import errno, shmbind, sys
for size in 4096, 2 << 20, 6 << 20, (6 << 20) + 4096:
    try:
        with shmbind.Region(sys.argv[1] + "/raw", size) as r:
            r.view()[size - 1] = 7
            print(r.size >> 20)
    except OSError as e:
        print(errno.errorcode[e.errno])' "$work/huge" 2>&1 | tr '\n' ' ')" = 'EINVAL 2 6 EINVAL ' ]
	umount "$work/huge" && mount -t hugetlbfs -o pagesize=2M,size=48M none "$work/huge"
	full_rows "$work/huge" hugetlbfs
	"$tool" run --path "$work/huge" --region feed --size 1M --place all --keep -- true
	verify "hugetlbfs: an arena has at least what was asked for, in whole pages" \
		eval '[ $(($(stat -c %s "$work/huge/feed") % (2 << 20))) = 0 ] && [ "$("$tool" ls --path "$work/huge" --json | jq .regions[0].capacity)" = $((2 << 20)) ]'
	"$tool" rm "$work/huge/feed"
	verify "hugetlbfs: all pages are free again" [ "$(awk '/HugePages_Free/ {print $2}' /proc/meminfo)" -ge $pages ]
else
	echo "note: no huge pages to be had here: hugetlbfs was not tried"
fi

if [ "$alone" ] && type bindfs >/dev/null 2>&1 && mkdir "$work/source" "$work/bound" && bindfs "$work/source" "$work/bound" 2>/dev/null; then
	mounts+=("$work/bound")
	"$tool" run --path "$work/bound" --region feed --log 1 -- true 2>"$work/err"
	verify "a file system that cannot name a file without replacing one: said, and nothing is left" \
		eval 'grep -q "^shmbind: $work/bound/feed: Operation not supported; running without a region$" "$work/err" && empty "$work/bound"'
else
	echo "note: no FUSE or no bindfs here: a file system that cannot was not tried"
fi

# On which a mapping keeps no lock: seen when the region is made, not when its owner is taken for dead.
mkdir "$work/layers" "$work/layers/low"
if [ "$alone" ] && mounted "$work/upper" -t tmpfs none && mkdir "$work/upper/up" "$work/upper/work" &&
	mounted "$work/merged" -t overlay -o "lowerdir=$work/layers/low,upperdir=$work/upper/up,workdir=$work/upper/work" none; then
	"$tool" run --path "$work/merged" --region feed --log 1 -- true 2>"$work/err"
	verify "overlayfs: the shim says that it is not supported" grep -q "^shmbind: $work/merged/feed: Operation not supported; running without a region$" "$work/err"
	for kind in raw arena; do
		verify "  $kind: so does the library" eval '! "$helpers/region_exit" "$work/merged/it" $kind return 2>"$work/err" && grep -q "Operation not supported" "$work/err"'
	done
	: >"$work/upper/up/theirs" && chmod 1600 "$work/upper/up/theirs" && truncate -s 4096 "$work/upper/up/theirs"
	verify "  nor is one claimed that is there" eval '! "$helpers/region_exit" "$work/merged/theirs" raw open >"$work/out" 2>"$work/err" && grep -q "Operation not supported" "$work/err"'
	rm "$work/merged/theirs"
	verify "  nothing is left" empty "$work/merged"
else
	echo "note: no overlay can be mounted here"
fi

# ---- directories that are none ------------------------------------------------------------

: >"$work/file"
ln -s nowhere "$work/dangling"
deep=/tmp/$(printf 'd%.0s' {1..250})

# refused DIR WHY [TOOL'S STATUS]
refused() {
	local status=0 dir=$1 why=$2 want=${3:-1}
	"$tool" ls --path "$dir" >"$work/out" 2>"$work/err" || status=$?
	verify "ls --path $dir: $why" eval '[ $status = $want ] && [ "$(cat "$work/err")" = "shmbind ls: --path $dir: $why" ]'
	status=0
	SHMBIND_PATH=$dir "$tool" gc >"$work/out" 2>"$work/err" || status=$?
	verify "gc, SHMBIND_PATH=$dir: $why" eval '[ $status = $want ] && [ "$(cat "$work/err")" = "shmbind gc: SHMBIND_PATH=$dir: $why" ]'
	status=0
	"$tool" run --path "$dir" -- touch "$work/ran" 2>"$work/err" || status=$?
	verify "run --path $dir: $why; it runs nothing" eval '[ $status = $want ] && grep -qF "SHMBIND_PATH=$dir: $why" "$work/err" && [ ! -e "$work/ran" ]'
	shim_refuses "$dir" "$why"
}
shim_refuses() { # shim_refuses DIR WHY [WRAP...]
	verify "shim, SHMBIND_PATH=$1: $2; the program runs" [ "$(SHMBIND_PATH=$1 LD_PRELOAD=$shim "${@:3}" sh -c 'echo ran' 2>&1)" = \
		"shmbind: SHMBIND_PATH=$1: $2; running without a region"$'\n'ran ]
}
refused "$work/none" 'No such file or directory'
refused "$work/dangling" 'No such file or directory'
refused "$work/file" 'Not a directory'
refused fabric 'not the whole path of a directory' 2
refused ./fabric 'not the whole path of a directory' 2
refused '' 'not the whole path of a directory' 2
refused / 'not the whole path of a directory' 2
verify "shim: a path that is too long" [ "$(SHMBIND_PATH=$deep/$deep LD_PRELOAD=$shim sh -c 'echo ran' 2>&1)" = \
	"shmbind: SHMBIND_PATH=${deep:0:200}: too long for a region's path; running without a region"$'\n'ran ]
mkdir -p "$deep"
verify "shim: a name that makes the path too long" eval '[ "$(SHMBIND_PATH=$deep SHMBIND_LOG=1 SHMBIND_REGION=feed LD_PRELOAD=$shim sh -c "echo ran" 2>&1 | tail -n 1)" = ran ] && empty "$deep"'
rmdir "$deep"
verify "--path without a directory: 2" eval 'status=0; "$tool" ls --path 2>"$work/err" || status=$?; [ $status = 2 ] && grep -q "takes a directory" "$work/err"'
if [ "$alone" ] && mount -t tmpfs -o ro none "$work/plain"; then
	mounts+=("$work/plain")
	shim_refuses "$work/plain" 'Read-only file system'
fi
if [ "$(id -u)" = 0 ] && type setpriv >/dev/null 2>&1; then
	mkdir -m 755 "$work/roots" && chmod 755 "$work"
	cp "$shim" "$work/shim.so" && shim=$work/shim.so
	shim_refuses "$work/roots" 'Permission denied' setpriv --reuid=65534 --clear-groups
else
	echo "note: a directory that may not be written to: not tried, this needs root"
fi
open_says() { # open_says NAME TEXT
	verify "open of $1: $2" [ "$(/usr/bin/python3 -c 'import shmbind, sys
try:
    shmbind.Arena(sys.argv[1], 1 << 20)
except OSError as e:
    print(str(e).split("] ")[1])' "$1")" = "$2: '$1'" ]
}
open_says "$work/none/feed" 'No such file or directory'
open_says "$work/file/feed" 'Not a directory'
open_says ./feed 'Invalid argument'
open_says fabric/feed 'Invalid argument'
open_says "$deep/$deep" 'File name too long'
verify "a relative path: none of the verbs that change something takes it" eval '! "$tool" rm ./file 2>"$work/err" && [ -e "$work/file" ]'
rows_hold
