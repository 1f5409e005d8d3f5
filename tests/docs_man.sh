#!/bin/bash
# The manual pages against the code: they format without a warning, name every
# function, constant, field, verb, option and key that there is and none that
# there is not, and the example in shmbind(7) does what the page says.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
SAN=${SAN:-}
CC=${CC:-cc}
export LC_ALL=C.UTF-8
pages=docs/man
header=include/shmbind.h
work=$(mktemp -d)
trap 'rm -rf "$work"; rm -f /dev/shm/shmb-test-$$-*' EXIT
for key in $(compgen -e SHMBIND_ || true); do
	unset "$key"
done

fail() {
	echo "FAIL: $*"
	exit 1
}

# same WHAT WANTED GOT: two lists, one word a line, as sets; neither may be empty
same() {
	[ -n "$2" ] || fail "$1: found nothing in the code"
	diff <(sort -u <<<"$2") <(sort -u <<<"$3") || fail "$1: the code (<) and the page (>) differ"
}

count() { sort -u <<<"$1" | wc -l; }

# section PAGE TITLE: the source lines of one section
section() { awk -v title="$2" '/^\.Sh /{on = $0 == ".Sh " title; next} on' "$pages/$1"; }
# entries PAGE VERB: the source lines of one verb of shmbind.1
entries() { awk -v verb="$2" '/^\.S[sh] /{on = $0 == ".Ss " verb; next} on' "$pages/$1"; }
# function_body NAME FILE
function_body() { sed -n "/^static bool $1(/,/^}/p" "$2"; }

# ---- form ---------------------------------------------------------------------

format_page() { MANROFFSEQ='' man --warnings -E UTF-8 -l -Tutf8 -Z "$1" 2>&1 >"$work/formatted"; }

check_form() {
	local page said n=0
	printf '.Dd January 1, 2026\n.Dt X 1\n.Os x\n.Sh NAME\n.Nm x\n.Nd y\n.nosuchrequest\n' >"$work/bad.1"
	if ! man --version >/dev/null 2>&1 || [ -z "$(format_page "$work/bad.1")" ]; then
		echo "note: man is missing or gives no warnings, the pages were not formatted"
		return
	fi
	for page in "$pages"/*.[137]; do
		said=$(format_page "$page") || said="man failed: $said"
		[ -z "$said" ] || fail "$page: $said"
		[ -s "$work/formatted" ] || fail "$page: nothing came out"
		n=$((n + 1))
	done
	[ $n -ge 9 ] || fail "only $n pages"
	echo "$n pages format without a warning"
}

# Every reference to a page of ours leads to a name that a page of that section has.
check_references() {
	local name sec n=0
	while read -r name sec; do
		cat "$pages"/*."$sec" | sed -n '/^\.Sh NAME/,/^\.Nd/p' | grep -qE "^\.Nm $name( ,)?$" || fail "no page names $name($sec)"
		n=$((n + 1))
	done < <(sed -n 's/^\.Xr \(shmb[a-z_.-]*\) \([137]\).*/\1 \2/p' "$pages"/*.[137] | sort -u)
	echo "$n references between the pages lead somewhere"
}

# ---- shmbind.h ------------------------------------------------------------------

code=$(perl -0pe 's{/\*.*?\*/}{}gs' "$header") # without its comments

# The prototypes of a page's synopsis as C.
prototypes() {
	section "$1" SYNOPSIS | awk '
		{ line = $0; sub(/^\.F[tao] /, "", line); gsub(/"/, "", line) }
		/^\.Ft / { type = line }
		/^\.Fo / { name = line; args = "" }
		/^\.Fa / { args = args (args == "" ? "" : ", ") line }
		/^\.Fc/ { print type " " name "(" args ");" }'
}

check_functions() {
	local page want got
	echo '#include "shmbind.h"' >"$work/prototypes.c"
	for page in "$pages"/shmb_*.3; do
		page=${page##*/}
		prototypes "$page" >"$work/one"
		cat "$work/one" >>"$work/prototypes.c"
		same "$page: names in NAME" "$(grep -oE '\bshmb_[a-z_]+\(' "$work/one" | tr -d '(')" \
			"$(section "$page" NAME | sed -n 's/^\.Nm \(shmb_[a-z_]*\).*/\1/p' | grep -vx shmb_box)" # a subject, no function
	done
	want=$(grep -v '^typedef' <<<"$code" | grep -oE '\bshmb_[a-z_]+\(' | tr -d '(' | sort)
	got=$(grep -oE '\bshmb_[a-z_]+\(' "$work/prototypes.c" | tr -d '(' | sort)
	same functions "$want" "$got"
	[ -z "$(uniq -d <<<"$got")" ] || fail "described twice: $(uniq -d <<<"$got")"
	"$CC" -std=gnu11 -Wall -Werror -Iinclude -fsyntax-only "$work/prototypes.c" || fail "a prototype is not the header's"
	echo "$(count "$want") functions have a page, with the header's prototype"
}

check_constants() {
	local want got
	want=$(grep -oE '\bSHMB_[A-Z][A-Z_]*' <<<"$code")
	got=$(grep -hv '^\.\\"\|^\.Dt' "$pages"/*.[137] | grep -oE '\bSHMB_[A-Z][A-Z_]*')
	same constants "$want" "$got"
	echo "$(count "$want") constants and macros are described, and no other"
}

# fields STRUCT: their names
fields() {
	sed -n "/^typedef struct $1 {/,/^}/p" <<<"$code" | sed '1d;$d;s/(\*\([a-z]*\)).*/\1;/' |
		grep -oE '[a-z_]+(\[[0-9]+\])?[;,]' | sed 's/[[;,].*//'
}

check_fields() {
	local pair struct page field n=0
	for pair in shmb_options:shmb_region_open shmb_type:shmb_box shmb_info:shmb_stats_print \
		shmb_block_info:shmb_stats_print; do
		struct=${pair%:*} page=${pair#*:}.3
		[ -n "$(fields "$struct")" ] || fail "no fields of $struct"
		for field in $(fields "$struct"); do
			grep -E '^\.(It )?Va ' "$pages/$page" | grep -qw -- "$field" || fail "$page does not tell of $struct.$field"
			n=$((n + 1))
		done
	done
	echo "$n fields of structures are described"
}

# The members of the outermost object of JSON.
members() {
	awk '{
		n = length($0)
		for (i = 1; i <= n; i++) {
			c = substr($0, i, 1)
			if (c == "\"") {
				for (from = ++i; substr($0, i, 1) != "\""; i++)
					;
				if (depth == 1 && substr($0, i + 1, 1) == ":")
					print substr($0, from, i - from)
			} else if (c ~ /[[{]/) {
				depth++
			} else if (c ~ /[]}]/) {
				depth--
			}
		}
	}'
}

# compile SOURCE PROGRAM
compile() {
	"$CC" -std=gnu11 -Wall -Wextra -Werror ${SAN:+-fsanitize=$SAN} -Iinclude "$1" -o "$2" \
		"$BUILD/libshmbind.so.0" -Wl,-rpath,"$PWD/$BUILD"
}

check_json() {
	local want
	cat >"$work/json.c" <<-'C'
		#include <shmbind.h>
		#include <stdio.h>
		static void put(void *to, const char *text) { fputs(text, to); }
		int main(int argc, char **argv)
		{
			shmb_options opt = {.size = 1 << 20};
			shmb_arena *a;
			return argc != 2 || shmb_arena_open(argv[1], &opt, &a) || shmb_stats_print(a, put, stdout, "J") ||
			       shmb_arena_close(a);
		}
	C
	compile "$work/json.c" "$work/json"
	want=$("$work/json" /shmb-test-$$-json | tr -d '\n\t' | members)
	same "members of the statistics" "$want" "$(section shmb_stats_print.3 DESCRIPTION |
		sed -n '/^The JSON is one object/,/^\.Pp/p' | sed -n 's/^\.Va //p' | grep -oE '[a-z_]+')"
	echo "$(count "$want") members of the JSON statistics are described, and no other"
}

# ---- shmbind.hpp --------------------------------------------------------------------

hpp=include/shmbind.hpp

# What the namespace has outside of detail.
cxx_names() {
	awk '/^namespace detail/ { inner = 1 } !inner; /^} *\/\/ namespace detail/ { inner = 0 }' "$hpp" |
		sed -nE 's/^(template <.*> )?(class|using|enum class) ([a-z_]+).*/\3/p
			s/^inline constexpr bool ([a-z_]+) = .*, ([a-z_]+) = .*/\1\n\2/p; t
			s/^(template <.*> )?inline [^=(]*[ &*]([a-z_]+)(\(| = ).*/\2/p
			s/^template <class T> const shmb_type &([a-z_]+)\(.*/\1/p' | grep -vx hash
}
# cxx_members CLASS: its public functions
cxx_members() {
	awk -v class="$1" '
		/^(template <.*> )?class / { on = match($0, "class " class "( |$)"); public = 0 }
		/^};/ { on = 0 }
		/^(public|private):/ { public = /public/ }
		on && public && /^\t[^\t\/* ]/ {
			line = $0
			sub(/ [{:].*/, "", line)
			if (match(line, /[a-z_]+\(/) && substr(line, RSTART, RLENGTH - 1) != class)
				print substr(line, RSTART, RLENGTH - 1)
		}' "$hpp"
}
cxx_entries() { awk -v title="$1" '/^\.S[sh] /{on = $0 == ".Ss " title; next} on' "$pages/shmbind.hpp.3"; }

check_cxx() {
	local described names
	names=$(cxx_names)
	described=$(section shmbind.hpp.3 DESCRIPTION | sed -n 's/^\.It Sy //p; s/^\.Sy \([a-z_]*\)\( ,\)*$/\1/p' | sed 's/ , Sy /\n/g')
	same "names of shmb::" "$names" "$(grep -v 'std::' <<<"$described")"
	same "members of region and arena" "$(cxx_members region; cxx_members arena)" \
		"$(cxx_entries Regions | sed -n 's/^\.It Fn //p' | sed 's/ , Fn /\n/g')"
	same "members of box" "$(cxx_members box)" "$(cxx_entries Boxes | sed -n 's/^\.It Fn //p' | sed 's/ , Fn /\n/g')"
	echo "$(count "$names") names and $( (cxx_members region; cxx_members arena; cxx_members box) | wc -l) members of shmbind.hpp are described, and no other"
	block shmbind.hpp.3 prices.cc >"$work/prices.cc"
	block shmbind.hpp.3 output >"$work/want"
	[ -s "$work/want" ] || fail "no example in shmbind.hpp(3)"
	"${CXX:-g++}" -std=c++17 -Wall -Wextra -Werror ${SAN:+-fsanitize=$SAN} -Iinclude "$work/prices.cc" -o "$work/prices" \
		"$BUILD/libshmbind.so.0" -Wl,-rpath,"$PWD/$BUILD" || fail "the example of shmbind.hpp(3) does not compile"
	"$work/prices" "/shmb-test-$$-prices" >"$work/got" || fail "the example failed"
	diff "$work/want" "$work/got" || fail "the page (<) and the example's output (>) differ"
	echo "the example of shmbind.hpp(3) compiles and prints what the page says"
}

# ---- the tool -------------------------------------------------------------------

options_in() { grep -oE -- "$1" | grep -oE -- '--[a-z-]+' || true; }

check_tool() {
	local tool=$BUILD/shmbind verbs verb help listed synopsis n=0
	verbs=$("$tool" help | sed -n 's/^  \([a-z]*\)  *[A-Z].*/\1/p')
	same verbs "$verbs" "$(sed -n 's/^\.Ss \([a-z]*\)$/\1/p' "$pages/shmbind.1" | grep -vx help)"
	for verb in $verbs; do
		help=$("$tool" help "$verb" | options_in '^  --[a-z-]+')
		listed=$(entries shmbind.1 "$verb" | sed -n 's/^\.It Fl \(-[a-z-]*\).*/-\1/p')
		synopsis=$(section shmbind.1 SYNOPSIS |
			awk -v verb="$verb" '/^\.Cm /{on = $2 == verb; next} /^\.Nm/{on = 0} on' |
			sed -n 's/^\.Op Fl \(-[a-z-]*[a-z]\).*/-\1/p')
		[ -z "$help$listed$synopsis" ] && continue
		same "options of $verb" "$help" "$listed"
		same "options of $verb in the synopsis" "$help" "$synopsis"
		n=$((n + $(count "$help")))
	done
	[ $n -gt 10 ] || fail "only $n options"
	"$tool" --version >/dev/null && "$tool" --help >/dev/null && "$tool" -h >/dev/null
	for verb in -version -help h; do
		entries shmbind.1 help | grep -qE "^\.Fl $verb\b" || fail "shmbind.1 does not tell of -$verb"
	done
	echo "$(count "$verbs") verbs and $n options are described, and no other"
}

check_run_keys() {
	local want got
	want=$("$BUILD/shmbind" help run | sed -n 's/^  \(--[a-z-]*\).*\(SHMBIND_[A-Z]*\).*/\1=\2/p')
	got=$(entries shmbind.1 run | awk '/^\.It Fl /{option = "-" $3} /^\.Ev SHMBIND_/ && option {print option "=" $2; option = ""}')
	same "variables of run's options" "$want" "$got"
	echo "$(count "$want") options of run set the variable that the page says"
}

# ---- the shim -------------------------------------------------------------------

shim=shmbind-preload.7

check_keys() {
	local want word
	want=$(grep -oE '\{"SHMBIND_[A-Z]+"' preload/policy.c | tr -d '{"')
	same keys "$want" "$(section $shim ENVIRONMENT | sed -n 's/^\.It Ev \(SHMBIND_[A-Z]*\)$/\1/p')"
	word=$(grep -hoE '^\.(It )?Ev SHMBIND_[A-Z]+' "$pages"/*.[137] | grep -oE 'SHMBIND_[A-Z]+')
	same "variables named in any page" "$want" "$word"
	for word in $(function_body set_fork preload/policy.c | grep -oE '"[a-z]+"') \
		$(function_body set_full preload/policy.c | grep -oE '"[a-z]+"') \
		$(function_body parse_condition src/rule.c | grep -oE '"[a-z]+=?"'); do
		grep -qE "^\.It Cm ${word//\"/}( |$)" "$pages/$shim" || fail "$shim does not tell of $word"
	done
	for word in region place; do
		word=$(sed -n "s/^#define DEFAULT_${word^^} \"\(.*\)\"/\1/p; s/.*policy\.$word = \"\(.*\)\";/\1/p" preload/policy.c)
		[ -n "$word" ] || fail "a default is not where it is looked for in preload/policy.c"
		section $shim ENVIRONMENT | grep -qF ".Ql $word" || fail "$shim does not tell of the default $word"
	done
	echo "$(count "$want") keys of the shim are described, with their words and defaults, and no other"
}

# Each message of the page is one that the code prints, and the other way round.
check_messages() {
	local format message n=0
	sed -n 's/.*shim_say([a-z0-9]*, "\(.*\)"[,)].*/\1/p' preload/*.c | sed 's/\\"/"/g; s/", .*//' |
		sed 's/[].*^$\\[]/\\&/g; s/%\\\.[0-9]*s/.*/g; s/%[a-z]*/.*/g' >"$work/formats"
	section $shim DIAGNOSTICS | sed -n 's/^\.It Sy "\(.*\)"$/\1/p' | sed 's/\\(dq/"/g' | grep -v '^shmb_' >"$work/messages"
	[ -s "$work/messages" ] && [ -s "$work/formats" ] || fail "no messages"
	while read -r message; do
		grep -qxf "$work/formats" <<<"$message" || fail "the shim never says: $message"
		n=$((n + 1))
	done <"$work/messages"
	while read -r format; do
		grep -qx -- "$format" "$work/messages" || fail "$shim does not tell of the message $format"
	done <"$work/formats"
	echo "$n messages are the shim's, and no other"
}

# Does the shim, with KEY=VALUE, run with a region?
accepted() {
	local said
	said=$(env LD_PRELOAD="$PWD/$BUILD/libshmbind-preload.so" SHMBIND_REGION=/shmb-test-$$-man "$1=$2" "$(type -P true)" 2>&1) ||
		fail "with $1=$2 the program failed: $said"
	[[ $said != *"without a region"* ]]
}

check_values() {
	local key value n=0
	case $SAN in
	address | thread)
		echo "note: the $SAN sanitizer and the shim do not mix, its values were not tried"
		return
		;;
	esac
	while read -r key value; do
		accepted "$key" "$value" || fail "the shim refuses $key=$value"
		[ "$key$value" = SHMBIND_KEEP1 ] && rm /dev/shm/shmb-test-$$-man # which it kept
		n=$((n + 1))
	done < <(section $shim ENVIRONMENT | awk '/^\.It Ev /{key = $3} /^\.It Cm /{print key, $3}'
		section $shim RULES | sed -n 's/^\.It Li /SHMBIND_PLACE /p')
	[ $n -ge 14 ] || fail "only $n values"
	! accepted SHMBIND_FORK none || fail "a wrong value passes"
	! accepted SHMBIND_PLACE size || fail "a wrong rule passes"
	! accepted SHMBIND_NOSUCH 1 || fail "a wrong key passes"
	[ -z "$(ls /dev/shm | grep "^shmb-test-$$-")" ] || fail "regions were left"
	echo "the shim takes the $n values and rules that its page lists, and no wrong one"
}

# ---- the example ------------------------------------------------------------------

# block PAGE WHAT: the text between its marks, as C or as the reader's terminal has it
block() {
	sed -n "/^\.\\\\\" begin $2\$/,/^\.\\\\\" end $2\$/p" "$pages/$1" |
		sed '1d;$d' | sed 's/\\(aq/'"'"'/g; s/\\-/-/g; s/\\e/\\/g'
}

check_example() {
	local name=shmb-test-$$-mailbox
	block shmbind.7 mailbox.c >"$work/mailbox.c"
	block shmbind.7 output >"$work/want"
	[ -s "$work/want" ] && grep -q '^int main' "$work/mailbox.c" || fail "no example in shmbind.7"
	compile "$work/mailbox.c" "$work/mailbox" || fail "the example does not compile"
	echo "the example of shmbind(7) compiles"
	"$work/mailbox" "/$name" >"$work/got" || fail "the example failed"
	diff "$work/want" "$work/got" || fail "the page (<) and the example's output (>) differ"
	[ -z "$(ls /dev/shm | grep "^$name")" ] || fail "the example left a region"
	echo "it prints what the page says, and leaves nothing"
}

check_form
check_references
check_functions
check_constants
check_fields
check_json
check_cxx
check_tool
check_run_keys
check_keys
check_messages
check_values
check_example
