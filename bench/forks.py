"""fork: what a fork costs a preloaded program (fork.c), beside the same program with private memory.

Kinds are interleaved, round by round.
"""
import os
import statistics
import subprocess

import life
from rows import name_of
from table import Line

DRIVER = os.path.join(life.BUILD, "bench", "fork")
SHIM = os.path.join(life.BUILD, "libshmbind-preload.so")

# MiB -> forks a round
SIZES = {0: 41, 64: 7, 1024: 2}
ROUNDS = 2
# name -> (SHMBIND_FORK, or None for no shim; the other thread)
KINDS = {
    "private memory": (None, "none"),
    "share": ("share", "none"),
    "deny": ("deny", "none"),
    "copy": ("copy", "none"),
    "private memory, a thread writes": (None, "write"),
    "copy, a thread writes": ("copy", "write"),
    "pages, a thread writes": ("pages", "write"),
}
SHARE_MOST = 1.1


def once(kind, mib):
    how, thread = KINDS[kind]
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SHMBIND_", "LD_PRELOAD"))}
    if how:
        env |= {"LD_PRELOAD": os.path.abspath(SHIM), "SHMBIND_PLACE": "all", "SHMBIND_LOG": "0", "SHMBIND_FORK": how,
                "SHMBIND_REGION": name_of("fork-%p")}
    done = subprocess.run([DRIVER, str(mib), str(SIZES[mib]), thread], env=env, capture_output=True, text=True, timeout=120)
    if done.returncode:
        raise life.Failed(f"{kind}, {mib} MiB: {done.stderr.strip() or f'status {done.returncode}'}")
    return [[float(x) for x in line.split()] for line in done.stdout.splitlines()]


def measure_fork():
    """Kind -> {MiB -> [[returned, ended, longest write], ...]}, microseconds."""
    rows = {kind: {mib: [] for mib in SIZES} for kind in KINDS}
    for _ in range(ROUNDS):
        for mib in SIZES:
            for kind in KINDS:
                rows[kind][mib] += once(kind, mib)
    return rows


def show_fork(rows):
    print("fork: with so much live in blocks of 1 MiB; milliseconds, medians: until fork() returned (until the child, "
          "which exits at once, had ended); the longest write of the other thread meanwhile\n")
    print("| | " + " | ".join(f"{mib} MiB | / private" for mib in SIZES) + " |")
    print("|---|" + "---:|---:|" * len(SIZES))
    for kind, by_size in rows.items():
        private = "private memory" + (", a thread writes" if KINDS[kind][1] == "write" else "")
        cells = []
        for mib in SIZES:
            returned, ended, longest = (statistics.median(s) / 1000 for s in zip(*by_size[mib]))
            ratio = returned * 1000 / statistics.median(s[0] for s in rows[private][mib])
            waits = f"; {longest:.2f}" if KINDS[kind][1] == "write" and mib else ""
            cells += [f"{returned:.2f} ({ended:.2f}){waits}", f"{ratio:.2f}"]
        print(f"| {kind} | " + " | ".join(cells) + " |")
    print()


def lines_fork(rows):
    lines = []
    for mib in SIZES:
        share, private = (statistics.median(s[0] for s in rows[kind][mib]) for kind in ("share", "private memory"))
        lines.append(Line(f"fork: share, {mib} MiB", "shim", "private memory", f"{share / private:.2f}", "", f"≤ {SHARE_MOST}",
                          share / private / SHARE_MOST, False))
    return lines
