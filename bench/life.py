"""open and recover: processes that come and go (life.c), many of them, and their figures.

Attaching is timed in a new process each time, with the empty region and the
full one in turn, so that a slow minute meets both. What is recovered is looked
at from outside before its figure counts.
"""
import json
import os
import signal
import subprocess
import time

from rows import BUILD, OUT, name_of
from table import Line, quartiles

LIFE = os.path.join(OUT, "life")
TOOL = os.path.join(BUILD, "shmbind")

BLOCK = 64
CAPACITY = 64 << 30
ATTACHES = 101
CREATES = ATTACHES // 2
MILLION = 1000 * 1000
ATTACH_US, FLAT = 100, 1.5
RECOVER_MS = 1

RECOVER_SIZES = (10**4, 10**5, 10**6, 5 * 10**6)
RECOVERIES = 5
WATCH_S = 0.05  # before the kill, and again after the newcomer is there: what it orphaned is adopted then


class Failed(Exception):
    pass


def remove_all():
    """What a killed bench process left; with our process id in the name, nobody else's."""
    for entry in os.listdir("/dev/shm"):
        if entry.startswith(name_of("")[1:]):
            os.unlink(os.path.join("/dev/shm", entry))


def once(*argv):
    """Runs a short-lived process: the lines it printed, each a list of numbers."""
    done = subprocess.run([LIFE, *map(str, argv)], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Failed(done.stderr.strip() or f"life {argv[0]}: status {done.returncode}")
    return [[float(x) for x in line.split()] for line in done.stdout.splitlines()]


class Process:
    """One that stays: it is asked through its input, and ends with it."""

    def __init__(self, *argv):
        self.child = subprocess.Popen([LIFE, *map(str, argv)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def said(self):
        line = self.child.stdout.readline()
        if not line:
            raise Failed("a process ended early")
        return line.strip()

    def asked(self):
        self.child.stdin.write("\n")
        self.child.stdin.flush()
        return float(self.said())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.stdout.close()
        try:
            self.child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()


# ---- open ---------------------------------------------------------------------

ATTACH_ROWS = ("attach, a process's first", "detach, a process's first", "attach again", "detach again")
BARE = "bare: " # of the row beside one of those: open, fstat, mmap and a word read; munmap and close


def measure_open():
    """Row -> {live blocks -> microseconds}."""
    rows = {kind + row: {0: [], MILLION: []} for row in ATTACH_ROWS for kind in ("", BARE)}
    made = [once("open", name_of("create"), CAPACITY)[0] for _ in range(CREATES)]
    rows["create"] = {0: [opening for opening, _ in made]}
    rows["remove (its owner closes it)"] = {0: [closing for _, closing in made]}
    names = {0: name_of("empty"), MILLION: name_of("full")}
    with Process("hold", names[0], CAPACITY, 0) as empty, Process("hold", names[MILLION], CAPACITY, MILLION) as full:
        empty.said()
        full.said()
        for _ in range(ATTACHES):
            for live, name in names.items():
                for kind, how in (("", "attach"), (BARE, "bare")):
                    first, again = once(how, name)
                    for row, sample in zip(ATTACH_ROWS, first + again):
                        rows[kind + row][live].append(sample)
    return rows


def show_open(rows):
    print(f"open: a region of {CAPACITY >> 30} GiB, {ATTACHES} processes, microseconds: median (middle half)\n")
    print("| | empty | 1,000,000 live blocks |")
    print("|---|---:|---:|")
    for row, by_live in rows.items():
        cells = [f"{m:.1f} ({low:.1f}..{high:.1f})" for m, low, high in map(quartiles, by_live.values())]
        print(f"| {row} | {' | '.join(cells + ['-'] * (2 - len(cells)))} |")
    print()


def lines_open(rows):
    lines = []
    for row, by_live in rows.items():
        if row.startswith(BARE):
            continue
        medians = {live: quartiles(samples) for live, samples in by_live.items()}
        m, low, high = max(medians.values())
        must = MILLION in medians
        lines.append(Line(f"open: {row}", "shmb", "-", f"{m:.0f} us", f"{low:.0f}..{high:.0f}", f"≤ {ATTACH_US} us",
                          m / ATTACH_US, must))
        if must:
            ratio = medians[MILLION][0] / medians[0][0]
            lines.append(Line(f"open: {row}", "shmb", "with no blocks", f"{ratio:.2f}", "", f"≤ {FLAT}", ratio / FLAT, must))
            bare = quartiles(rows[BARE + row][0])[0]
            lines.append(Line(f"open: {row}", "shmb", "bare", f"{medians[0][0] / bare:.2f}", "", "", 0, False))
    return lines


# ---- recover ------------------------------------------------------------------

def stats(name):
    done = subprocess.run([TOOL, "stats", name, "--json"], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise Failed(done.stderr.strip())
    return json.loads(done.stdout)


def recover_once(live):
    """The newcomer's open in ms; the watcher's longest malloc in us before the kill and from then on."""
    name = name_of(f"recover-{live}")
    with Process("watch", name, CAPACITY) as watcher:
        watcher.asked()  # it is at work
        with Process("hold", name, CAPACITY, live) as victim:
            victim.said()
            watcher.asked()
            time.sleep(WATCH_S)
            before = watcher.asked()
            victim.child.send_signal(signal.SIGKILL)
            victim.child.wait()
        done = stats(name)["recoveries"]
        opening = once("open", name, CAPACITY)[0][0]
        time.sleep(WATCH_S)
        after = watcher.asked()
        found = stats(name)
        if found["recoveries"] != done + 2 or found["live_bytes"] < live * BLOCK:  # leaving is a recovery too
            raise Failed(f"recover, {live} blocks: the newcomer did not recover the dead one, or blocks are gone")
    return opening / 1000, before, after


def measure_recover():
    """Live blocks -> a list of recover_once()."""
    results = {live: [] for live in RECOVER_SIZES}
    allowed = os.sched_getaffinity(0)
    if len(allowed) > 1:
        os.sched_setaffinity(0, {0})  # those who come and go inherit it; the watcher has the other one (life.c)
    try:
        for _ in range(RECOVERIES):
            for live in RECOVER_SIZES:
                results[live].append(recover_once(live))
    finally:
        os.sched_setaffinity(0, allowed)
    return results


def show_recover(results):
    print(f"recover: a process with live blocks of {BLOCK} bytes is killed; the next process's open recovers. "
          f"{RECOVERIES} kills each, median (middle half)\n")
    print("| live blocks | the newcomer's open, ms | another process's longest malloc: before, us | "
          "from the kill on, us |")
    print("|---:|---:|---:|---:|")
    for live, samples in results.items():
        opening, before, after = (quartiles(s) for s in zip(*samples))
        print(f"| {live:,} | {opening[0]:.3f} ({opening[1]:.3f}..{opening[2]:.3f}) | "
              f"{before[0]:.0f} ({before[1]:.0f}..{before[2]:.0f}) | {after[0]:.0f} ({after[1]:.0f}..{after[2]:.0f}) |")
    print()


def lines_recover(results):
    lines = []
    for live, samples in results.items():
        m, low, high = quartiles([s[0] for s in samples])
        lines.append(Line(f"recover {live:,}", "shmb", "-", f"{m:.3f} ms", f"{low:.3f}..{high:.3f}", f"≤ {RECOVER_MS} ms",
                          m / RECOVER_MS, False))
    return lines
