#!/bin/bash
# The static probes: each artefact has those that shmbind(7) lists, with as many
# arguments; one nop each in malloc's and free's hot path; gdb stops at them, and
# their arguments are what the program did.
. "$(dirname "$0")/helpers/script.sh"
[ -z "$SAN" ] || { echo "a sanitizer build is no product: the places of arguments are its own"; exit 77; }
page=docs/man/shmbind.7
artefacts="$BUILD/libshmbind.so.0 $BUILD/libshmbind-preload.so $BUILD/libshmbind.a $BUILD/shmbind"

# NAME COUNT, a line each: as the page has them, and as a file's notes do
listed() { sed -n '/^\.Ss Probes/,/^\.Ss Versions/s/^\.It Sy //p' $page | awk '{print $1, NF - 1}' | sort; }
notes() { readelf -nW "$1" 2>/dev/null | awk '/Provider:/ {ours = $NF == "shmbind"} /Name:/ && ours {name = $2} /Arguments:/ && ours {print name, NF - 1}' | sort -u; }

listed >"$work/listed"
verify "shmbind(7) lists five probes" [ "$(wc -l <"$work/listed")" = 5 ]
for file in $artefacts; do
	notes "$file" >"$work/notes"
	verify "${file##*/}: these, with their arguments" diff "$work/listed" "$work/notes"
done

# Where the probes of a file are, in which function: NAME FUNCTION.
places() {
	/usr/bin/python3 - "$1" <<-'PY'
		import re, subprocess, sys
		out = lambda *a: subprocess.run(a, stdout=subprocess.PIPE, text=True).stdout
		at = re.findall(r"Provider: shmbind\s+Name: (\w+)\s+Location: 0x([0-9a-f]+)", out("readelf", "-nW", sys.argv[1]))
		code, where = {}, ""
		for line in out("objdump", "-d", "--no-show-raw-insn", sys.argv[1]).splitlines():
		    if m := re.match(r"^[0-9a-f]+ <(.*)>:$", line):
		        where = m[1]
		    elif m := re.match(r"^ *([0-9a-f]+):\s+(\S+)", line):
		        code[int(m[1], 16)] = (where, m[2])
		for name, place in at:
		    where, what = code[int(place, 16)]
		    print(name, where, what)
	PY
}
places "$BUILD/libshmbind.so.0" >"$work/places"
verify "each is a nop" eval '! grep -v " nop$" "$work/places"'
verify "one in shmb_malloc, one in shmb_free" [ "$(grep -c ' shmb_malloc ' "$work/places") $(grep -c ' shmb_free ' "$work/places")" = '1 1' ]
places "$BUILD/libshmbind-preload.so" >"$work/places"
verify "one in the shim's malloc, one in its free" [ "$(grep -cE ' (preload_)?malloc ' "$work/places") $(grep -cE ' (preload_)?free ' "$work/places")" = '1 1' ]

# ---- gdb --------------------------------------------------------------------------------

cat >"$work/program.c" <<'C'
#include <shmbind.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	shmb_options opt = {.size = 1 << 22};
	shmb_arena *a;
	if (argc != 2 || shmb_arena_open(argv[1], &opt, &a))
		return 1;
	void *p[5];
	size_t sizes[] = {100, 100, 5000, 70000, 300000};
	for (int i = 0; i < 5; i++) {
		p[i] = shmb_malloc(a, sizes[i]);
		fprintf(stderr, "malloc %p %zu\n", p[i], sizes[i]);
	}
	for (int i = 4; i >= 0; i--) {
		fprintf(stderr, "free %p\n", p[i]);
		shmb_free(a, p[i]);
	}
	pid_t pid = vfork(); /* gdb stays with this one */
	if (pid == 0)
		execl("/bin/sh", "sh", "-c", argc ? getenv("KILLED") : "", (char *)NULL);
	waitpid(pid, NULL, 0);
	fprintf(stderr, "recovered %d\n", shmb_recover(a));
	return shmb_arena_close(a);
}
C
cat >"$work/killed.c" <<'C'
#include <shmbind.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	shmb_arena *a;
	if (argc != 2 || shmb_arena_open(argv[1], NULL, &a) || !shmb_malloc(a, 100))
		return 1;
	fprintf(stderr, "killed %d\n", (int)getpid());
	raise(SIGKILL);
}
C
for c in program killed; do
	"$CC" -g -O0 -Wall -Werror -Iinclude "$work/$c.c" "$BUILD/libshmbind.so.0" -Wl,-rpath,"$PWD/$BUILD" -o "$work/$c"
done
name=${prefix}probes
export KILLED="ulimit -c 0; exec '$work/killed' $name"

# at PROBE FORMAT ARGUMENT...: what gdb is to print whenever it is come by
at() { printf 'break -probe-stap shmbind:%s\ncommands\nsilent\nprintf "%s\\n", %s\ncontinue\nend\n' "$1" "$2" "$3"; }
debug() { # debug PROGRAM ARG...: with the commands in $work/commands
	timeout 120 gdb -nx -batch -ex 'set debuginfod enabled off' -ex 'set startup-with-shell off' -ex 'set breakpoint pending on' \
		-x "$work/commands" --args "$@" >"$work/out" 2>"$work/err" </dev/null || true
}
{
	echo 'start'
	at malloc 'probe malloc 0x%lx %lu' '$_probe_arg0, $_probe_arg1'
	at free 'probe free 0x%lx' '$_probe_arg0'
	at span_take 'probe span_take %s %lu of %lu' '(char *)$_probe_arg0, $_probe_arg2, $_probe_arg1 + $_probe_arg2'
	at recover 'probe recover %s slot %d pid %d' '(char *)$_probe_arg0, $_probe_arg1, $_probe_arg2'
	echo 'info probes stap shmbind'
	echo 'continue'
} >"$work/commands"
debug "$work/program" $name
if grep -qiE 'ptrace: |Operation not permitted' "$work/out" "$work/err"; then
	echo "gdb may not debug here: $(grep -hiE -m1 'ptrace: |Operation not permitted' "$work/out" "$work/err")"
	exit 77
fi
verify "gdb lists them" eval 'grep -qE "^stap +shmbind +span_take +0x[0-9a-f]+ +.*libshmbind" "$work/out"'
verify "every malloc is seen, with its block and size" \
	diff <(sed -n 's/^malloc //p' "$work/err") <(sed -n 's/^probe malloc //p' "$work/out")
verify "every free is seen, with its block" diff <(sed -n 's/^free //p' "$work/err") <(sed -n 's/^probe free //p' "$work/out")
verify "both large ones take a run of units, small ones one" \
	eval '[ "$(grep -cE "^probe span_take $name (2|5) of " "$work/out")" = 2 ] && grep -q "^probe span_take $name 1 of " "$work/out"'
verify "who died is recovered, named by its process id" \
	eval 'grep -qx "recovered 1" "$work/err" && grep -qx "probe recover $name slot 1 pid $(sed -n "s/^killed //p" "$work/err")" "$work/out"'
verify "and who leaves goes the same way" eval 'grep -q "^probe recover $name slot 0 pid " "$work/out"'

{
	echo 'set environment LD_PRELOAD '"$shim"
	printf 'set environment %s\n' "SHMBIND_REGION $name" 'SHMBIND_SIZE 1M' 'SHMBIND_PLACE one: size=100;big: size=64K..' 'SHMBIND_LOG 0'
	echo 'start'
	at fallback 'probe fallback %s by rule %d' '(char *)$_probe_arg0, $_probe_arg1'
	at malloc 'probe malloc %lu' '$_probe_arg1'
	echo 'continue'
} >"$work/commands"
cat >"$work/plain.c" <<'C'
#include <stdlib.h>
int main(void)
{
	void *volatile keep[4] = {malloc(100), malloc(100), malloc(300000), malloc(3000000)};
	for (int i = 0; i < 4; i++)
		free(keep[i]);
}
C
"$CC" -g -O0 -Wall -Werror "$work/plain.c" -o "$work/plain"
debug "$work/plain"
verify "shim: what is placed, by the hot path and others" [ "$(grep -c '^probe malloc 100$' "$work/out") $(grep -c '^probe malloc 300000$' "$work/out")" = '2 1' ]
verify "shim: what falls back, and by which rule" eval 'grep -qx "probe fallback $name by rule 1" "$work/out" && [ "$(grep -c "^probe fallback" "$work/out")" = 1 ]'
rows_hold
