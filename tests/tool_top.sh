#!/bin/bash
# shmbind top: a frame as text, and the screen, in a terminal that python3-pyte
# is, with every key. Regions are in a directory of their own, so that the list
# is known.
. "$(dirname "$0")/helpers/script.sh"
needs_terminal
. tests/helpers/tool.sh
if ! unshare -m true 2>"$work/why"; then
	echo "no mount namespace is to be had here: $(cat "$work/why")"
	exit 77
fi
if [ -z "${SHMBIND_TOP_INSIDE:-}" ]; then # from here on nobody else's regions are there
	SHMBIND_TOP_INSIDE=1 exec unshare -m bash -c 'mount -t tmpfs -o size=256m tmpfs /dev/shm && exec bash "$0"' "tests/$(basename "$0")"
fi
unset SHMBIND_TOP_INSIDE

# ---- once -----------------------------------------------------------------------------

run top --once
verify "top --once where there is nothing" eval '[ $status = 0 ] && grep -qE "^shmbind top [0-9:]{8}  0 regions, 0 B live, 0 B cached, by name$" "$work/out" && [ "$(wc -l <"$work/out")" = 3 ]'
start 1 arena /b-arena wait
start 2 raw /c-raw wait
"$helper" arena /d-kept leak >/dev/null
killed arena /e-dead kill
: >/dev/shm/foreign
run top --once
verify "top --once: the sums" grep -q '4 regions, 2\.[0-9] MiB live, ' "$work/out"
verify "  each region: kind, owner, live" eval '
	grep -qE "^> /b-arena +arena pid ${pid[1]} +1 +9[0-9]{2} KiB +[0-9.]+ KiB +-  preload_region$" "$work/out" &&
	grep -qE "^  /c-raw +raw +(alive|pid ${pid[2]}) +1 +- +- +-" "$work/out" && grep -qE "^  /d-kept +arena kept " "$work/out" && grep -qE "^  /e-dead +arena dead " "$work/out"'
verify "  of the first the processes" eval 'grep -q "^/b-arena: 4.0 MiB for blocks, " "$work/out" && grep -qE "^ +0 +${pid[1]}  preload_region +[0-9]+ s$" "$work/out"'
verify "  no object of others" eval '! grep -q foreign "$work/out"'
run top --once d-kept
verify "top --once NAME: that one" eval 'grep -q "^> /d-kept " "$work/out" && grep -q "^/d-kept: 4.0 MiB for blocks, .* 1 dead to be recovered$" "$work/out"'
run top --once -d 0.1
verify "top --once -d: rates" grep -qE '^> /b-arena .* 0 B/s  preload_region$' "$work/out"
case $SAN in
address | thread) echo "note: no shim beside this sanitizer: rules were not looked at" ;;
*)
	mkfifo "$work/go"
	"$tool" run --region /a-rules --place $'big: size=1M..;module=bad\e[31m*' --log 0 -- /usr/bin/python3 -c '
import sys
x = []
open("'"$work/go"'", "w").write("ready\n")
while True:
    x = [bytearray(2 << 20) for _ in range(20)]' &
	runs=$!
	read -r <"$work/go"
	run top --once -d 0.5 a-rules
	verify "  rules, with what each decides in a second" grep -qE '^ +[0-9]{2,} +[1-9][0-9]*/s +[0-9.]+ [KMGT]iB +(-|[0-9.]+ .?i?B) +(-|[0-9.]+ .?i?B) +0  big: size=1M\.\.' "$work/out"
	verify "  and what a rule has in it sends nothing to the terminal" eval '! grep -q "$(printf "\033")" "$work/out" && grep -q "  module=bad?\[31m\*$" "$work/out"'
	kill $runs
	wait $runs || true
	;;
esac
name=$'/f-odd \e[31m\xff'
"$helper" arena "$name" leak >/dev/null
run top --once "$name"
verify "a name with an escape sends nothing to the terminal" eval '! grep -q "$(printf "\033")" "$work/out" && grep -q "^> /f-odd ?\[31m? " "$work/out"'
rm -f "/dev/shm$name"
verify "bash completes top: its options, a region, nothing for seconds" eval 'offers --once top -- && offers /b-arena top --once / && ! offers /b-arena top -d /'
text='No such file' fails 1 'that there is none' top --once none
text='takes one region at most' fails 2 'what it takes' top --once b-arena d-kept
for d in 0 x 1x -1 0.01 4000 1e3 nan ''; do text='takes seconds from 0.1 to 3600' fails 2 'which are' top --once "-d=$d"; done
text='-d: takes seconds' fails 2 'what it takes' top -d
text='no terminal' fails 1 'that there is none' top
TERM=nonsense script -qec "'$tool' top" /dev/null >"$work/err" 2>&1 </dev/null || true
verify "top on a terminal of no known kind: says so" says 'no terminal that it knows; --once'

# ---- the screen ---------------------------------------------------------------------------

cat >"$work/screen.py" <<'END'
import fcntl, os, pty, pyte, select, signal, struct, subprocess, sys, termios, time

tool, helper, owner = sys.argv[1:4]
failures = rows = 0
screen = pyte.Screen(100, 24)
stream = pyte.ByteStream(screen)
pid, fd = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm", LC_ALL="C.UTF-8")
    os.execv(tool, [tool, "top", "-d", "0.3"])

def size(columns, lines):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    screen.resize(lines, columns)

def pump(seconds):
    end = time.time() + seconds
    while time.time() < end:
        if select.select([fd], [], [], 0.05)[0]:
            try:
                data = os.read(fd, 65536)
            except OSError:
                return
            if not data:
                return
            stream.feed(data)

def shows(test):
    """Whether the screen comes to be so within 20 s."""
    for _ in range(100):
        try:
            if test(screen.display):
                return True
        except IndexError:
            pass
        pump(0.2)
    return False

def row(text, good):
    global failures, rows
    rows += 1
    print(("ok  " if good else "FAIL"), text)
    if not good:
        failures += 1
        print("\n".join("     |" + l.rstrip() for l in screen.display if l.strip()))

def press(keys):
    os.write(fd, keys)

def line(display, start):
    return [l for l in display if l.startswith(start)][0]

def chosen(name):
    return lambda d: line(d, "> ").startswith("> " + name + " ") and any(l.startswith(name + ": ") for l in d)

size(100, 24)
row("the screen: regions, the first chosen, its process, the keys", shows(lambda d:
    d[0].startswith("shmbind top ") and "4 regions" in d[0] and chosen("/b-arena")(d) and
    any(owner in l and "preload_region" in l and l.rstrip().endswith(" s") for l in d[6:]) and
    d[23].startswith("q quit") and "every 0.3 s" in d[23]))
row("  the chosen line is reversed", screen.buffer[screen.display.index(line(screen.display, "> "))][3].reverse)
press(b"\x1bOB")
row("down: the next", shows(chosen("/c-raw")))
press(b"j")
row("j: the next", shows(chosen("/d-kept")))
press(b"k\x1bOA")
row("k, up: back", shows(chosen("/b-arena")))
press(b"k")
pump(0.5)
row("up from the first: stays", shows(chosen("/b-arena")))
press(b"jjjjjj")
row("down past the last: stays there", shows(chosen("/e-dead")))
press(b"s")
row("s: by live", shows(lambda d: "by live" in d[0] and chosen("/e-dead")(d)))
press(b"s")
row("s: by rate", shows(lambda d: "by rate" in d[0]))
press(b"s")
row("s: by name again", shows(lambda d: "by name" in d[0]))
press(b"-")
row("-: half as often", shows(lambda d: "every 0.6 s" in d[23]))
press(b"+")
row("+: as before", shows(lambda d: "every 0.3 s" in d[23]))
child = subprocess.Popen([helper, "attach", "/d-kept", "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
row("a process attaches to another: counted", shows(lambda d: line(d, "  /d-kept").split()[3] == "1"))
child.stdin.close()
child.wait()
row("  and leaves", shows(lambda d: line(d, "  /d-kept").split()[3] == "0"))
subprocess.run([helper, "arena", "/a-new", "leak"], stdout=subprocess.PIPE)
row("a new region appears, the choice stays", shows(lambda d: "5 regions" in d[0] and line(d, "  /a-new") and chosen("/e-dead")(d)))
os.unlink("/dev/shm/e-dead")
row("the chosen one goes: says so", shows(lambda d: any(l.startswith("/e-dead: there is no such region now") for l in d)))
press(b"j")
row("  a key goes to what is there", shows(chosen("/d-kept")))
press(b" ")
row("space: paused", shows(lambda d: "paused" in d[23]))
os.unlink("/dev/shm/a-new")
pump(1.0)
row("  nothing changes", "4 regions" in screen.display[0] and any("/a-new" in l for l in screen.display))
press(b" ")
row("space: goes on", shows(lambda d: "3 regions" in d[0] and "every" in d[23]))
size(40, 8)
os.kill(pid, signal.SIGWINCH)
row("a small window: what fits, the keys on its last line", shows(lambda d: d[0].startswith("shmbind top") and d[7].startswith("q quit")))
size(100, 24)
os.kill(pid, signal.SIGWINCH)
row("  and a large one again", shows(lambda d: d[23].startswith("q quit")))
press(b"q")
pump(1.0)
row("q: ends with 0", os.waitpid(pid, 0)[1] == 0)
sys.exit(failures != 0)
END
rows=$((rows + 1))
/usr/bin/python3 "$work/screen.py" "$tool" "$helper" "${pid[1]}" || failures=$((failures + 1))
finish 1
finish 2
rows_hold
