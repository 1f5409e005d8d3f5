# bash completion for shmbind(1). Verbs, options and their words are read from
# the tool's own help, so that there is one list of them.

_shmbind_verbs() { "$1" help 2>/dev/null | sed -n 's/^  \([a-z]\{1,\}\)  *[A-Z].*/\1/p'; }

# One line an option: --option ARGUMENT WORDS
_shmbind_options() {
	"$1" help "$2" 2>/dev/null | sed -n '
		s/^  \(-[a-z-]*\)  *\([A-Z][A-Z]*\)  *\(SHMBIND_[A-Z]*  *\)\{0,1\}\([a-z]*\(, [a-z]*\)* or [a-z]*\)$/\1 \2 \4/; t words
		s/^  \(-[a-z-]*\)  *\([A-Z][A-Z]*\)  .*/\1 \2/p; t
		s/^  \(-[a-z-]*\)  *\([a-z]*|[a-z|]*\)  .*/\1 WORD \2/; t words
		s/^  \(--[a-z-]*\).*/\1/p; b
		:words
		s/,//g; s/|/ /g; s/ or / /; p'
}

# In the directory that --path says, if so: beside it names are typed without.
_shmbind_regions() {
	local i path=()
	for ((i = 2; i < COMP_CWORD; i++)); do
		[ "${COMP_WORDS[i]}" = --path ] || continue
		[ "${COMP_WORDS[i + 1]}" != = ] || i=$((i + 1)) # --path=DIR is three words here
		path=(--path "${COMP_WORDS[i + 1]}")
	done
	"$1" ls "${path[@]}" 2>/dev/null | sed -n 's/^\(\/[^ ]*\) .*/\1/; s/.*\//\//p'
}
# Where a region is looked at, a saved one may be: a word with a slash inside is a path.
_shmbind_region_or_file() { case $2 in ?*/*) compgen -f -- "$2" ;; *) _shmbind_regions "$1" ;; esac; }
_shmbind_refs() { "$1" blocks "$2" 2>/dev/null | sed -n 's/^ *\(0x[0-9a-f]*\) .* live .*/\1/p'; }

# What may follow an option whose argument has this name.
_shmbind_argument() {
	case $2 in
	NAME) _shmbind_regions "$1" ;;
	FILE) compgen -f -- "$3" ;;
	DIR) compgen -d -- "$3" ;;
	WHERE) printf '%s\n' stderr; compgen -f -- "$3" ;;
	esac
}

_shmbind() {
	local tool=${COMP_WORDS[0]} cur=${COMP_WORDS[COMP_CWORD]} verb=${COMP_WORDS[1]} name argument words i offer=
	COMPREPLY=()
	if [ "$COMP_CWORD" -eq 1 ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_shmbind_verbs "$tool") help --version" -- "$cur")
		return
	fi
	if [ "$verb" = help ]; then
		mapfile -t COMPREPLY < <(compgen -W "$(_shmbind_verbs "$tool")" -- "$cur")
		return
	fi

	# where a command is to be run: its options, then the command's own completion
	local runs=0 takes=
	"$tool" help "$verb" 2>/dev/null | head -1 | grep -q 'COMMAND' && runs=1
	for ((i = 2; i < COMP_CWORD; i++)); do
		[ -z "$takes" ] || { takes=; continue; }
		while read -r name argument words; do
			[ "$name" = "${COMP_WORDS[i]}" ] && takes=$argument
		done < <(_shmbind_options "$tool" "$verb")
		if [ $runs = 1 ] && [ -z "$takes" ] && { [ "${COMP_WORDS[i]}" = -- ] || [[ ${COMP_WORDS[i]} != -* ]]; }; then
			[ "${COMP_WORDS[i]}" = -- ] && i=$((i + 1))
			if declare -F _command_offset >/dev/null; then
				_command_offset "$i"
			else
				mapfile -t COMPREPLY < <(if [ "$i" = "$COMP_CWORD" ]; then compgen -c -- "$cur"; else compgen -f -- "$cur"; fi)
			fi
			return
		fi
	done

	if [ -n "$takes" ]; then
		while read -r name argument words; do
			[ "$name" = "${COMP_WORDS[COMP_CWORD - 1]}" ] && offer="$words $(_shmbind_argument "$tool" "$argument" "$cur")"
		done < <(_shmbind_options "$tool" "$verb")
	elif [[ $cur == -* ]]; then
		offer=$(_shmbind_options "$tool" "$verb" | sed 's/ .*//')
	elif [ $runs = 1 ]; then
		mapfile -t COMPREPLY < <(compgen -c -- "$cur")
		return
	elif [ "$verb" = cat ] && [ "$COMP_CWORD" -eq 3 ]; then
		offer=$(_shmbind_refs "$tool" "${COMP_WORDS[2]}")
	elif { [ "$verb" = load ] && [ "$COMP_CWORD" -eq 2 ]; } || { [ "$verb" = save ] && [ "$COMP_CWORD" -eq 3 ]; }; then
		mapfile -t COMPREPLY < <(compgen -f -- "$cur")
		return
	elif [ "$verb" != load ] && "$tool" help "$verb" 2>/dev/null | head -1 | grep -q '[ [[]NAME'; then
		offer=$(_shmbind_region_or_file "$tool" "$cur")
	fi
	mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$cur")
}
complete -F _shmbind shmbind
