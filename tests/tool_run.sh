#!/bin/bash
# shmbind run: exit status and signals pass through in both directions, and
# the region is gone whichever way the command and its descendants went.
. "$(dirname "$0")/helpers/script.sh"
needs_shim
helper=$PWD/$BUILD/tests/helpers/preload_env

# run ARG...: shmbind run of it, everything placed; $status (of a signal: 128 + it), $work/out, $work/err
run() {
	status=0
	(cd "$work" && "$tool" run --place all --log 0 --region "$prefix%p" "$@" >"$work/out" 2>"$work/err"; exit $?) \
		2>/dev/null || status=$?
}
# The wait status itself: exited or by which signal.
how_it_ended() {
	/usr/bin/python3 -c 'import subprocess, sys
print(subprocess.run(sys.argv[1:], stderr=subprocess.DEVNULL).returncode)' "$tool" run --log 0 --region "$prefix%p" --place all "$@"
}

# ---- status ----------------------------------------------------------------------

for n in 0 1 3 42 255; do
	run -- sh -c "exit $n"
	verify "exit status $n" [ "$status" = $n ]
done
run /no/such/command
verify "a missing command, by path: 127, and its name is said" eval '[ $status = 127 ] && grep -q "/no/such/command: No such file" "$work/err"'
run -- no-such-command-anywhere
verify "a missing command, by PATH: 127" [ $status = 127 ]
: >"$work/plain" && chmod 644 "$work/plain"
run -- "$work/plain"
verify "a file that is not executable: 126, and its name is said" eval '[ $status = 126 ] && grep -q "plain: Permission denied" "$work/err"'
run -- /tmp
verify "a directory: 126" [ $status = 126 ]
printf '\001\002\003garbage' >"$work/garbage" && chmod 755 "$work/garbage"
run -- "$work/garbage"
verify "an executable that is none: 126 or the shell's 127" eval '[ $status = 126 ] || [ $status = 127 ]'
run -- sh -c 'echo out; echo err >&2; cat' <<<'in'
verify "standard streams are the command's" [ "$(tr '\n' ' ' <"$work/out")$(cat "$work/err")" = 'out in err' ]
verify "status: nothing is left" nothing_left

for sig in KILL TERM INT SEGV HUP USR1 PIPE ABRT; do
	verify "a command that SIG$sig ends: the tool ends by the same" \
		[ "$(how_it_ended sh -c "kill -$sig \$\$")" = "-$(kill -l $sig)" ]
done
verify "ended by signals: nothing is left" nothing_left

# ---- options -------------------------------------------------------------------

printf '# big ones\nbig: size=5000..\n' >"$work/rules"
run --rules rules -- "$helper" sizes 0 4999 5000
verify "--rules FILE: its rules" [ "$(tr '\n' ,  <"$work/out")" = '4999 heap,5000 region,' ]
run --rules=rules -- sh -c 'cd / && "$@"' sh "$helper" sizes 0 4999 5000
verify "--rules=FILE: found from another directory" [ "$(tr '\n' ,  <"$work/out")" = '4999 heap,5000 region,' ]
run --rules no-such-file -- "$helper" sizes 0 5000
verify "--rules, no such file: 1, says so, runs nothing" eval '[ $status = 1 ] && grep -q "no-such-file: No such file" "$work/err" && [ ! -s "$work/out" ]'
run --rules
verify "--rules without a file: 2" [ $status = 2 ]
run --rules rules --dry-run --log 1 --stats "$work/dry.json" -- "$helper" sizes 7 4999 5000
verify "--dry-run: nothing is placed, what would have been is said" \
	eval '[ $status = 7 ] && [ "$(tr "\n" ,  <"$work/out")" = "4999 heap,5000 heap," ] && grep -q "dry run: 1 requests of 5120 bytes would" "$work/err"'
verify "  and counted, where --stats says" [ "$(jq -c '[.rules[] | [.rule, .hits]]' "$work/dry.json")" = '[["big: size=5000..",1]]' ]

# ---- signals to the tool -------------------------------------------------------------

# to_the_tool SIGNAL: the command says ready, then the tool gets the signal; prints what the command says of it
to_the_tool() {
	rm -f "$work/fifo" && mkfifo "$work/fifo"
	"$tool" run --log 0 --place all --region "$prefix%p" -- /usr/bin/python3 -c 'import os, signal, sys, time
def got(sig, frame): # which may come in the middle of a print
    os.write(1, (signal.Signals(sig).name + "\n").encode())
    sys.exit(17)
signal.signal(signal.'"$1"', got)
os.write(1, b"ready\n")
while True: time.sleep(0.05) # not pause(): a signal just before it would not end it' >"$work/fifo" 2>"$work/err" &
	local pid=$! word
	exec 7<"$work/fifo"
	read -r -u 7 -t 60 word
	kill -"${1#SIG}" $pid
	read -r -u 7 -t 60 word || word=none
	exec 7<&-
	status=0
	wait $pid || status=$?
	echo "$word $status"
}
for sig in SIGTERM SIGHUP SIGUSR1 SIGUSR2; do
	verify "$sig to the tool reaches the command, whose exit status comes back" [ "$(to_the_tool $sig)" = "$sig 17" ]
done
mkfifo "$work/default"
(ulimit -c 0; exec "$tool" run --log 0 --place all --region "$prefix%p" -- "$helper" hold <>"$work/default" >"$work/hold-out" 2>/dev/null) &
pid=$!
until grep -q ready "$work/hold-out" 2>/dev/null; do read -r -t 0.02 <> <(:) || true; done
held=$(left)
{ kill -TERM $pid && wait $pid; } 2>/dev/null && status=0 || status=$?
verify "SIGTERM that the command does not catch: both end by it" [ $status = 143 ]
verify "  its region was there, and is gone" eval '[ -n "$held" ] && nothing_left'

# ---- what is left ----------------------------------------------------------------------

ends_with() { # ends_with TEXT STATUS ARG...
	run "${@:3}"
	verify "$1: status $2, nothing is left" eval '[ $status = '"$2"' ] && nothing_left'
}
ends_with "normal end" 0 -- "$helper" pattern return
ends_with "exit" 0 -- "$helper" pattern exit
ends_with "_exit" 0 -- "$helper" pattern _exit
ends_with "quick_exit" 0 -- "$helper" pattern quick_exit
ends_with "exec" 0 -- "$helper" pattern exec
ends_with "abort" 134 -- "$helper" pattern abort
ends_with "SIGKILL of the command" 137 -- "$helper" pattern kill
ends_with "SIGKILL of a child" 0 -- "$helper" grandchild
ends_with "SIGKILL of a grandchild" 0 -- sh -c "'$helper' grandchild; true"
ends_with "SIGKILL of a grandchild, its parents killed too" 137 -- sh -c "'$helper' grandchild; kill -KILL \$\$"
ends_with "all of it with --fork share" 137 --fork share -- sh -c "'$helper' grandchild; kill -KILL \$\$"
ends_with "a fixed name, SIGKILL" 137 --region ${prefix}fixed -- "$helper" pattern kill
ends_with "python, SIGKILL" 137 -- /usr/bin/python3 -c 'import os, signal
x = [bytes(100000) for _ in range(100)]
assert any(n.startswith("shmb-test-'$$'-") for n in os.listdir("/dev/shm"))
os.kill(os.getpid(), signal.SIGKILL)'
ends_with "python, a killed worker" 0 -- /usr/bin/python3 -c 'import os, signal
for _ in range(5):
    if os.fork() == 0:
        x = bytes(100000)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.wait()[1] == signal.SIGKILL'

run --keep -- "$helper" pattern return
verify "--keep: the region is there" [ -n "$(left)" ]
rm -f /dev/shm/shmb-test-$$-*
run --keep -- "$helper" pattern kill
verify "--keep, SIGKILL: the region is there, which is when one wants to look at it" [ -n "$(left)" ]
rm -f /dev/shm/shmb-test-$$-*

# Someone else's dead region is not this run's to remove.
(SHMBIND_LOG=0 SHMBIND_PLACE=all SHMBIND_REGION=${prefix}stranger LD_PRELOAD=$PWD/$BUILD/libshmbind-preload.so "$helper" pattern kill; exit $?) 2>/dev/null || true
run -- "$helper" pattern kill
verify "a dead region of another run is spared" [ "$(left)" = /dev/shm${prefix}stranger ]
rm -f /dev/shm/shmb-test-$$-*

# A descendant that is still there keeps its region, until it ends.
mkfifo "$work/stay-in"
exec 8<>"$work/stay-in"
status=0
"$tool" run --log 0 --place all --region "$prefix%p" -- "$helper" stay <"$work/stay-in" >"$work/stay-out" 2>"$work/err" || status=$?
until grep -q ready "$work/stay-out"; do read -r -t 0.02 <> <(:) || true; done
child=$(head -1 "$work/stay-out")
verify "a descendant outlives the command: its region is spared, the command's is gone" \
	eval '[ $status = 0 ] && [ "$(left)" = "/dev/shm$prefix$child" ]'
kill -KILL "$child"
while kill -0 "$child" 2>/dev/null && ! grep -q '^State:.Z' "/proc/$child/status" 2>/dev/null; do read -r -t 0.02 <> <(:) || true; done
exec 8>&-
rm -f /dev/shm/shmb-test-$$-*

# ---- the options ----------------------------------------------------------------------------

# The variables that the command gets.
env_of() { "$tool" run "$@" -- /usr/bin/env 2>/dev/null | grep '^SHMBIND_' | grep -v '^SHMBIND_RUN=' | sort | tr '\n' ' '; }
verify "each option sets its variable" [ "$(env_of --region "${prefix}o" --size 1G --place size=1M.. --exe none --fork share --full enomem --stats stderr --log 2 --keep)" = \
	"SHMBIND_EXE=none SHMBIND_FORK=share SHMBIND_FULL=enomem SHMBIND_KEEP=1 SHMBIND_LOG=2 SHMBIND_PLACE=size=1M.. SHMBIND_REGION=${prefix}o SHMBIND_SIZE=1G SHMBIND_STATS=stderr " ]
verify "and in the form --option=value, a value with = in it" [ "$(env_of --exe=none --place=size=4K..)" = "SHMBIND_EXE=none SHMBIND_PLACE=size=4K.. " ]
verify "without options: only the run's tag" [ "$("$tool" run -- /usr/bin/env 2>/dev/null | grep -c '^SHMBIND_')" = 1 ]
verify "LD_PRELOAD that was there stays, after ours" \
	[ "$(LD_PRELOAD=libm.so.6 "$tool" run --exe none -- /usr/bin/env | grep '^LD_PRELOAD=')" = "LD_PRELOAD=$PWD/$BUILD/libshmbind-preload.so:libm.so.6" ]
run sh -c 'echo "$@"' - --place --size -x
verify "what follows the command is the command's" [ "$(cat "$work/out")" = '--place --size -x' ]

# usage NAMED ARG...: exit status 2, the line names it, nothing was run
usage() {
	status=0
	"$tool" run "${@:2}" >"$work/out" 2>"$work/err" || status=$?
	verify "usage: shmbind run ${*:2}: status 2, names $1" eval '[ $status = 2 ] && grep -qF -e "$named" "$work/err" && [ ! -s "$work/out" ]'
}
named=--nonsense usage --nonsense --nonsense -- echo ran
named=-x usage -x -x -- echo ran
named=--placed usage --placed --placed=all -- echo ran
named=--plac usage --plac --plac all echo ran
named='--size: takes a value' usage --size --size
named='which command?' usage 'the command'
named='which command?' usage 'the command' --
named='which command?' usage 'the command' --place all
named='which command?' usage 'the command' --log 0 --
status=0
"$tool" run --help >"$work/out" 2>"$work/err" || status=$?
verify "shmbind run --help: the page, status 0" eval '[ $status = 0 ] && grep -q "^usage: shmbind run" "$work/out"'
"$tool" help run >"$work/page"
verify "  the same as shmbind help run" cmp -s "$work/out" "$work/page"

verify "at the end nothing is left" nothing_left
rows_hold
