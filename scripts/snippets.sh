#!/bin/bash
# Makes of a page what its reader would type:
#
#   snippets.sh PAGE DIR     writes DIR/run.sh, and the files that the page shows
#
# A block of c, cpp or python begins with a comment that names its file, and is
# put there. Blocks of sh make up run.sh, in their order. A block of text is what
# the sh block before it prints; "..." there is anything, alone in its line any
# lines. A block of shell changes the machine: it is for scripts/newcomer.sh, which
# says so by WITH_SHELL=1. One of sh that begins with "# needs FILE" is for where
# that is. Other blocks are for the eye. run.sh stops where a command fails or
# prints something else; after a command in the background it waits until a
# region is there.
set -eu
page=${1:?usage: snippets.sh PAGE DIR}
dir=${2:?usage: snippets.sh PAGE DIR}
mkdir -p "$dir/.shown"
cat >"$dir/run.sh" <<'HEAD'
set -em # with job control, so that programs in the background keep their input
settle() { # until there is a region, and its program has got on
	for _ in $(seq 600); do
		[ -z "$(ls /dev/shm)" ] || break
		sleep 0.1
	done
	sleep "${SETTLE:-1}"
}
shows() { # shows N: is what the last block printed the page's Nth text?
	perl -0777 -e '
		($want, $got) = map { open my $f, "<", $_ or die; <$f> } @ARGV;
		$want = join "\n", map { $_ eq "..." ? "ANY" : join ".*", map { quotemeta } split /\.\.\./, $_, -1 } split /\n/, $want;
		$want =~ s/(^|\n)ANY/$1(?:.*\\n?)*/g;
		exit($got =~ /^$want\s*$/ ? 0 : 1)' "$SNIPPETS/.shown/$1" "$SNIPPETS/.shown/got" && return
	echo "the page shows:"
	sed 's/^/  /' "$SNIPPETS/.shown/$1"
	echo "but this came:"
	sed 's/^/  /' "$SNIPPETS/.shown/got"
	exit 1
}
HEAD
awk -v dir="$dir" -v page="$page" -v with_shell="${WITH_SHELL:-}" '
	function finish() { # the sh block that is waiting to be told whether its output is shown
		if (shell == "")
			return
		gsub(/&\n/, "\\&\nsettle\n", shell)
		needs = match(shell, /^# needs [^\n]*/) ? substr(shell, 9, RLENGTH - 8) : ""
		if (needs)
			printf "[ ! -e %s ] && echo \"note: no %s here, a block was left out\" || {\n", needs, needs >>run
		if (shown)
			printf "{\n%s} >\"$SNIPPETS/.shown/got\" 2>&1 || { cat \"$SNIPPETS/.shown/got\"; exit 1; }\nshows %d\n", shell, shown >>run
		else
			printf "%s", shell >>run
		if (needs)
			print "}" >>run
		shell = ""
		shown = 0
	}
	BEGIN { run = dir "/run.sh" }
	/^```/ && !open { open = 1; kind = substr($0, 4); first = 1; if (with_shell && kind == "shell") kind = "sh"; if (kind == "sh") finish(); if (kind == "text" && shell != "") shown = ++texts; next }
	/^```/ { open = 0; if (kind == "text") finish(); next }
	!open { next }
	kind == "sh" { shell = shell $0 "\n" }
	kind == "text" && shown { print >(dir "/.shown/" shown) }
	kind ~ /^(c|cpp|python)$/ {
		if (first) {
			if (!match($0, /[a-z_]+\.(c|cc|py)/)) { print page ":" NR ": a block without a file name"; exit 1 }
			file = dir "/" substr($0, RSTART, RLENGTH)
		}
		print >file
		first = 0
	}
	END { finish() }' "$page"
