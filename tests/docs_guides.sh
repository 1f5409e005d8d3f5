#!/bin/bash
# The pages for people: what README.md and docs/ show is built, run and compared
# as scripts/snippets.sh says, each page in a directory and a /dev/shm of its own;
# links between them lead somewhere. PAGES="docs/tool.md ..." tries some.
. "$(dirname "$0")/helpers/script.sh"
top=$PWD
# shellcheck disable=SC2206 # words, and patterns
pages=(${PAGES:-README.md docs/*.md})

links() { # links PAGE: those that lead nowhere
	local at to where anchor
	at=$(dirname "$1")
	grep -oE '\]\([^)]*\)' "$1" | sed 's/^](//; s/)$//' | while IFS= read -r to; do
		case $to in http*) continue ;; esac
		where=$at/${to%%#*} anchor=${to#*#}
		[ -n "${to%%#*}" ] || where=$1
		[ -e "$where" ] || { echo "$to"; continue; }
		[ "$anchor" = "$to" ] || grep -E '^#+ ' "$where" | tr '[:upper:] ' '[:lower:]-' | sed 's/^#*-//; s/[^a-z0-9-]//g' | grep -qx -- "$anchor" || echo "$to"
	done
}
for page in "${pages[@]}"; do
	verify "$page: links" [ -z "$(links "$page")" ] || links "$page"
done

[ $failures = 0 ] || rows_hold
if [ -n "$SAN" ]; then
	echo "a sanitizer build's library needs programs of the same build, the pages' are not"
	exit 77
fi
if ! unshare --mount --propagation private mount -t tmpfs none /dev/shm 2>/dev/null; then
	echo "note: no mount namespace here, what the pages show was not run"
	rows_hold
	exit
fi
unset PYTHONPATH LIBSHMBIND

run_page() { # run_page PAGE: in a namespace, so that its names are nobody else's
	local in
	in=$work/$(basename "$1" .md)
	mkdir "$in"
	"$top/scripts/snippets.sh" "$1" "$in" || return
	ln -s "$top/include" "$top/examples" "$in/"
	ln -s "$top/$BUILD" "$in/build"
	mkfifo "$in/.input"
	SNIPPETS=$in timeout -k 10 300 unshare --mount --propagation private bash -c '
		cd "$SNIPPETS" && mount -t tmpfs none /dev/shm && exec 7<>.input || exit
		export PATH=$PWD/build:/usr/bin:$PATH # a wrapper around python3 would end, and begin, regions of the same name
		bash run.sh <&7 >.output 2>&1 7>&-
		status=$?
		[ $status = 0 ] || { cat .output; exit $status; }
		for _ in $(seq 100); do [ -n "$(ls /dev/shm)" ] || exit 0; echo >&7; sleep 0.1; done
		echo "left: $(ls /dev/shm)"
		exit 1'
}

# what is wrong is found
mkdir "$work/wrong"
printf '```sh\necho one\n```\n\n```text\ntwo\n```\n' >"$work/wrong/other.md"
printf '```sh\nfalse\necho on\n```\n' >"$work/wrong/fails.md"
printf '```sh\n: >/dev/shm/left-behind\n```\n' >"$work/wrong/leaves.md"
for page in "$work"/wrong/*.md; do
	verify "a page that is wrong fails: $(basename "$page" .md)" eval '! run_page "$page" >"$work/said"'
done

for page in "${pages[@]}"; do
	if ! grep -q '^```sh$' "$page"; then continue; fi
	verify "$page: what it shows is so" run_page "$page"
done
rows_hold
