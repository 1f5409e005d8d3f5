"""A shell on a terminal, and somebody who types: each line of standard input, then
Tab. Prints what the command line is then.

    completion.py bash|zsh FIFO <LINES     with the FIFO made, in the top of the tree
"""
import os
import pty
import select
import sys
import threading

shell, fifo = sys.argv[1:]
SAY = b"\x18\x10"  # C-x C-p: the shell writes its command line into the FIFO
SETUP = {
    "bash": f"""set +o history; . packaging/shmbind.bash
bind -x '"\\C-x\\C-p": printf "%s\\n" "$READLINE_LINE" >{fifo}'
""",
    "zsh": f"""fpath=($PWD/packaging $fpath); autoload -U compinit; compinit -u -D
say() {{ print -r -- "$BUFFER" >{fifo} }}; zle -N say; bindkey '^X^P' say; bindkey -e '^X^P' say
""",
}
COMMAND = {"bash": ["bash", "--norc", "--noprofile", "-i"], "zsh": ["zsh", "-f", "-i"]}

pid, terminal = pty.fork()
if pid == 0:
    os.environ.update(TERM="xterm", PS1="> ", INPUTRC="/dev/null", HISTFILE="")
    os.execvp(shell, COMMAND[shell])


def drain():
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:
        pass  # the shell is gone


threading.Thread(target=drain, daemon=True).start()
said = os.open(fifo, os.O_RDWR)


def answer():
    text = b""
    while not text.endswith(b"\n"):
        if not select.select([said], [], [], 60)[0]:
            sys.exit(f"{shell} does not answer")
        text += os.read(said, 65536)
    return text.decode().rstrip("\n")


def typed(line, tab=b"\t"):
    os.write(terminal, b"\x15" + line.encode() + tab + SAY)
    return answer()


os.write(terminal, SETUP[shell].encode())
os.write(terminal, f"echo ready >{fifo}\n".encode())
if answer() != "ready":
    sys.exit(f"{shell} was not ready")
for line in sys.stdin:
    print(typed(line.rstrip("\n")), flush=True)
os.write(terminal, b"\x15exit\n")
os.waitpid(pid, 0)
