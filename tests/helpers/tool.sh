# tool.sh - for the scripts that run a verb and look at what it says. Sourced
# after script.sh.
helper=$PWD/$BUILD/tests/helpers/preload_region
# what a sanitizer finds must not look like the tool's own exit status 1
export ASAN_OPTIONS=exitcode=99 UBSAN_OPTIONS=exitcode=99:print_stacktrace=1 TSAN_OPTIONS="${TSAN_OPTIONS:-} exitcode=99"

run() { # run ARG...: the tool; $status, $work/out, $work/err
	status=0
	"$tool" "$@" >"$work/out" 2>"$work/err" || status=$?
}
says() { grep -qF -e "$1" "$work/err"; }
fails() { # fails STATUS TEXT ARG...: that exit status, and the text on stderr
	run "${@:3}"
	verify "shmbind ${*:3}: status $1, says $2" eval '[ $status = '"$1"' ] && grep -qF -e "$text" "$work/err"'
}
parses() { jq -e "$1" "$work/out" >"$work/parsed"; } # parses FILTER: JSON of which that is true
killed() { ("$helper" "$@" >/dev/null; exit $?) 2>/dev/null || true; } # the inner shell's message goes nowhere

# start N ARG...: the helper; its input is fd 2N, its pid in pid[N], what it said first in ref[N]
declare -A pid ref
start() {
	local in=$((20 + $1)) word
	rm -f "$work/in" "$work/said" && mkfifo "$work/in" "$work/said"
	"$helper" "${@:2}" <"$work/in" >"$work/said" 21>&- 22>&- 23>&- 24>&- 25>&- 26>&- & # nor hold the others' inputs open
	pid[$1]=$!
	eval "exec $in>\"\$work/in\" 9<\"\$work/said\""
	read -r -u 9 -t 60 ref["$1"]
	read -r -u 9 -t 60 word
	exec 9<&-
	[ "$word" = ready ]
}
finish() { # finish N
	eval "exec $((20 + $1))>&-"
	wait "${pid[$1]}"
}
shot() { { kill -KILL "${pid[$1]}" && wait "${pid[$1]}" || true; } 2>/dev/null; } # shot N

# offers WHAT WORD...: bash's completion offers that for the last word of `shmbind WORD...`
offers() {
	bash -c 'cd "$1" && . "$2/packaging/shmbind.bash" && shift 2 && COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) &&
		_shmbind && printf "%s\n" "${COMPREPLY[@]}"' bash "$work" "$PWD" "$tool" "${@:2}" 2>"$work/err" | grep -qxF -e "$1"
}
