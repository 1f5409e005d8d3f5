#!/bin/bash
# Neighbours in the shm directory that mean no good, or know no better: a file
# that is cut or grown while it is attached, a name that goes or is given to
# somebody else, odd names, other users.
#
# What is tried elsewhere: links, pipes, sockets and directories in the way, sizes, other users' modes, the longest names
# (test_region.c), names removed and given anew (test_region_own.c), every bit of the header (test_region_arena.c),
# corrupt tables (tool_look.sh), names that are another user's under the shim (preload_limits.sh).
if [ "${1:-}" != alone ] && unshare -m true 2>/dev/null; then # gc is to find nobody else's regions
	exec unshare -m bash -c 'mount -t tmpfs -o size=512m,mode=1777 tmpfs /dev/shm && exec bash "$0" alone' "$0"
fi
alone=${1:-}
. "$(dirname "$0")/helpers/script.sh"
export ASAN_OPTIONS="handle_sigbus=0:${ASAN_OPTIONS:-}" TSAN_OPTIONS="handle_sigbus=0 ${TSAN_OPTIONS:-}" # who dies of it is to die of it
[ "$alone" ] || echo "note: gc among other programs' regions: not verified, no mount namespace is to be had here"
helper=$PWD/$BUILD/tests/helpers/region_hostile
name=${prefix}it file=/dev/shm${prefix}it

# One process at a time that has $name open. start ARG...: what it says first; tell WORD: what it says to that.
trap '' PIPE # what is told to the dead
start() { # start raw|arena [SIZE]
	coproc PEER { exec "$helper" "$name" "$@" 2>>"$work/peer"; }
	peer=$PEER_PID
	exec {to}>&"${PEER[1]}" {from}<&"${PEER[0]}" # the shell's own go with the process
	eval "exec ${PEER[1]}>&- ${PEER[0]}<&-"
	hear
}
hear() { read -r -t 30 said <&"$from" || said="nothing"; }
tell() {
	echo "$1" >&"$to" 2>/dev/null || true
	hear
	[ "$said" = nothing ] || return 0
	status=0
	kill -ALRM "$peer" 2>/dev/null || true # where it hangs
	wait "$peer" 2>/dev/null || status=$?
	said="dead $status"
}
end() { # end: its input ends, without a word of closing
	exec {to}>&- {from}<&-
	wait "$peer" 2>/dev/null || true
}
says() { # says WORD ANSWER
	tell "$1"
	[ "$said" = "$2" ] || { echo "$1: $said" >"$work/err"; return 1; }
}
SIGBUS=$((128 + $(kill -l BUS)))

# tool STATUSES VERB...: it ends, with one of these, and where that is not 0 says why
ends() {
	local status=0
	timeout 30 "$tool" "${@:2}" >"$work/out" 2>"$work/err" </dev/null || status=$?
	[[ " $1 " == *" $status "* ]] && { [ $status = 0 ] || [ -s "$work/err" ] || [ -s "$work/out" ]; }
}
looked_at() { # looked_at TITLE: no verb of the tool dies of it
	local verb
	for verb in ls "stats $name" "check $name" "blocks $name" "cat $name" "ls --json" "gc --dry-run"; do
		verify "$1: $verb ends, and says why where it fails" ends '0 1 3' $verb
	done
}

# ---- a file that is cut while it is attached -------------------------------------------------

for left in 0 4096 100000 most; do
	start arena $((64 << 20))
	verify "an arena, to be cut to $left" says malloc ok
	says write ok
	size=$(stat -c %s "$file")
	[ $left != most ] || left=$((size - (16 << 20)))
	truncate -s "$left" "$file"
	looked_at "cut to $left"
	verify "cut to $left: who comes now is refused" eval '! "$helper" "$name" arena </dev/null >"$work/out" && [ -s "$work/out" ]'
	if [ "$left" -lt 200000 ]; then
		verify "cut to $left, all of its blocks gone: SIGBUS" says write "dead $SIGBUS"
	else
		verify "cut to $left, behind its blocks: it goes on" says write ok
	fi
	end
	[ ! "$alone" ] || verify "cut to $left: gc removes what the dead left" eval '"$tool" gc >/dev/null 2>&1; [ ! -e "$file" ]'
	rm -f "$file"
done
start raw 100000
truncate -s 0 "$file"
verify "a raw region that is cut: SIGBUS" says write "dead $SIGBUS"
rm -f "$file"

# ---- a file that grows -------------------------------------------------------------------------

start arena $((64 << 20))
says malloc ok
truncate -s +1M "$file"
looked_at "grown"
verify "grown: who comes now is refused" eval '! "$helper" "$name" arena </dev/null >"$work/out" && [ -s "$work/out" ]'
for word in write free malloc write; do
	verify "grown: who has it goes on: $word" says $word ok
done
truncate -s -1M "$file"
verify "back at its size: it opens again" says open ok
verify "and closes" says close ok
verify "and is gone" [ ! -e "$file" ]

# ---- a name that goes, or becomes another's -------------------------------------------------------

for kind in raw arena; do
	start $kind $((4 << 20))
	rm -f "$file"
	echo theirs >"$file"
	verify "$kind: its name is another's file: it goes on" says write ok
	verify "$kind: closing it" eval 'tell close; [ "$said" != "nothing" ]'
	verify "$kind: spares that file" [ "$(cat "$file")" = theirs ]
	rm -f "$file"
	start $kind $((4 << 20))
	rm -f "$file"
	ln -s /etc/passwd "$file"
	verify "$kind: its name is a link: it goes on, and does not follow" says write ok
	tell close
	verify "$kind: and spares the link" [ -L "$file" ]
	rm -f "$file"
done

# ---- names -------------------------------------------------------------------------------------------

x254=$(printf '%0254d' 0)
for odd in "${prefix}with spaces" "${prefix}"$'\n'"newline" "${prefix}"$'\033[31m' "${prefix}"$'\377\376' "${prefix}%s%n" \
	"${prefix}-" "${prefix}..." "${prefix}${x254:${#prefix}-1}"; do
	name=$odd
	start arena $((4 << 20))
	verify "a name: $(printf %q "${odd#"$prefix"}" | cut -c1-30)" [ "$said" = ready ]
	verify "  listed" eval '"$tool" ls --json | jq -e ".regions | length >= 1" >/dev/null'
	verify "  looked at by that name" eval '"$tool" check "$name" >"$work/out" 2>&1'
	tell close
	verify "  gone when closed" [ ! -e "/dev/shm$odd" ]
done
for bad in "" / . .. a/b //a /a/ /a/.. "${prefix}${x254}" "$prefix/.."; do
	name=$bad
	verify "no name: '$(cut -c1-30 <<<"$bad")'" eval '! "$helper" "$name" arena 4194304 </dev/null >"$work/out" && grep -qi "invalid" "$work/out"'
done
name=${prefix}it
for size in 0x7fffffffffffffff 0x8000000000000000 0xffffffffffffffff 0xfffffffffffff000 $((1 << 62)); do
	for kind in raw arena; do
		verify "$kind of $size bytes: an error" eval '! "$helper" "$name" '$kind' '$size' </dev/null >"$work/out" && [ -s "$work/out" ] && [ ! -e "$file" ]'
	done
done

# ---- other users -----------------------------------------------------------------------------------------

if [ "$(id -u)" = 0 ]; then
	nobody=(setpriv --reuid=65534 --regid=65534 --clear-groups)
	cp "$helper" "$tool" "$work/" && chmod 755 "$work" "$work/region_hostile" "$work/shmbind"
	echo "note: fs.protected_regular is $(cat /proc/sys/fs/protected_regular 2>/dev/null || echo "not known"), /dev/shm $(stat -c %A /dev/shm)"
	for mode in 0600 0666 1666 0000; do
		echo theirs >"$file" && chown 65534 "$file" && chmod $mode "$file"
		verify "another user's file has the name, mode $mode: root does not take it for its own" eval \
			'! "$helper" "$name" arena 4194304 </dev/null >"$work/out" && [ "$(cat "$file")" = theirs ]'
		case $alone$mode in # with that bit it is a dead raw region, which root may remove
		alone0*) verify "  nor does gc remove it" eval '"$tool" gc >/dev/null 2>&1; [ "$(cat "$file")" = theirs ]' ;;
		esac
		chown 0 "$file"
		verify "  root's has it: nobody neither" eval \
			'! "${nobody[@]}" "$work/region_hostile" "$name" arena 4194304 </dev/null >"$work/out" && [ "$(cat "$file")" = theirs ]'
		rm -f "$file"
	done
	start arena $((4 << 20))
	verify "in a sticky directory nobody removes root's region" eval \
		'! "${nobody[@]}" "$work/shmbind" rm --force "$name" >"$work/out" 2>&1 && [ -s "$work/out" ] && [ -e "$file" ]'
	[ ! "$alone" ] || verify "nor does nobody's gc --force" eval '"${nobody[@]}" "$work/shmbind" gc --force >"$work/out" 2>&1; [ -e "$file" ]'
	verify "nor cuts it, and it closes" says close ok
	"${nobody[@]}" "$work/region_hostile" "$name" arena 4194304 </dev/null >"$work/out"
	verify "a directory that others write to takes the region of whoever comes first, and is free after" eval \
		'[ "$(cat "$work/out")" = ready ] && [ ! -e "$file" ]'
else
	echo "note: other users: not verified, this needs root"
fi
verify "nothing is left" nothing_left
rows_hold
