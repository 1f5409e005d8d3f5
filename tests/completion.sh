#!/bin/bash
# Completion in bash and zsh, as somebody sees it who types and presses Tab: every
# verb and option that the tool's help lists, words, regions, refs, commands, files.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
needs_terminal
export PATH=$PWD/$BUILD:$PATH
mkfifo "$work/fifo"
region=${prefix}complete
"$tool" run --region "$region" --place all --keep --log 0 -- sh -c true || wrong "no region was made"
ref=$("$tool" blocks "$region" --json | jq -r 'first(.blocks[] | select(.state == "live")).ref') # a multiple of 16
: >"$work/afile"
mkdir "/dev/shm${prefix}there"
"$tool" run --region /feed --path "/dev/shm${prefix}there" --place all --keep --log 0 -- sh -c true

# start_of WORD LIST: a letter less than it, or all of it where that is another's start, too, or none
start_of() {
	local less=${1%?}
	[ ${#less} -gt 1 ] && [ "$(grep -c -- "^$less" <<<"$2")" = 1 ] && echo "$less" || echo "$1"
}

# "TYPED|WANTED" a line: what stands there after Tab
wants() {
	local verb option verbs options
	verbs=$("$tool" help | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p')
	for verb in $verbs; do
		echo "shmbind $(start_of "$verb" "$verbs")|shmbind $verb "
		options=$("$tool" help "$verb" | sed -n 's/^  \(--[a-z-]*\).*/\1/p')
		for option in $options; do
			echo "shmbind $verb $(start_of "$option" "$options")|shmbind $verb $option"
		done
	done
	cat <<-ROWS
		shmbind hel|shmbind help 
		shmbind --v|shmbind --version 
		shmbind nos|shmbind nos
		shmbind help sta|shmbind help stats 
		shmbind run --fork d|shmbind run --fork deny 
		shmbind run --full en|shmbind run --full enomem 
		shmbind run --stats std|shmbind run --stats stderr 
		shmbind run --rules $work/af|shmbind run --rules $work/afile 
		shmbind run --fork copy --dry|shmbind run --fork copy --dry-run
		shmbind profile --by mod|shmbind profile --by module 
		shmbind run -- md5su|shmbind run -- md5sum
		shmbind run md5sum $work/af|shmbind run md5sum $work/afile 
		shmbind check ${region%????}|shmbind check $region 
		shmbind stats ${region%????}|shmbind stats $region 
		shmbind blocks ${region%????}|shmbind blocks $region 
		shmbind cat ${region%????}|shmbind cat $region 
		shmbind rm $region ${region%????}|shmbind rm $region $region 
		shmbind cat $region ${ref%?}|shmbind cat $region $ref
		shmbind ls /|shmbind ls /
		shmbind check --path /dev/shm${prefix}there /fe|shmbind check --path /dev/shm${prefix}there /feed
	ROWS
}

in_shell() { # in_shell SHELL
	local slash=
	[ "$1" = bash ] || slash=/ # which zsh puts behind a directory
	local typed want got
	if ! type "$1" >/dev/null 2>&1 || ! /usr/bin/python3 -c 'import pty' 2>/dev/null; then
		echo "note: no $1 or no python3 here"
		return
	fi
	wants >"$work/wants"
	echo "shmbind run --path /dev/shm${prefix}the|shmbind run --path /dev/shm${prefix}there$slash" >>"$work/wants"
	[ "$(wc -l <"$work/wants")" -gt 40 ] || wrong "only $(wc -l <"$work/wants") lines to type"
	sed 's/|.*//' "$work/wants" | timeout 300 /usr/bin/python3 tests/helpers/completion.py "$1" "$work/fifo" >"$work/got" 2>"$work/err" ||
		wrong "$1: $(cat "$work/err")"
	while IFS='|' read -r typed want && IFS= read -r -u 3 got; do
		verify "$1: $typed" same "$got" "$want"
	done <"$work/wants" 3<"$work/got"
	verify "$1: all was typed" [ "$(wc -l <"$work/got")" = "$(wc -l <"$work/wants")" ]
}
# A space counts where it is wanted; after an option that takes a value zsh puts a `=`.
same() { [ "${1%[ =]}" = "${2% }" ] && { [ "$2" = "${2% }" ] || [ "$1" = "$2" ]; } || { echo "     got: $1|"; return 1; }; }

in_shell bash
in_shell zsh
"$tool" rm --force "$region"
rows_hold
