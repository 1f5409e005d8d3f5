"""stats and box: a dump of ten million blocks, and what boxes cost (box.c)."""
import os
import subprocess
import time

import life
from rows import OUT, name_of
from table import Line, quartiles

BLOCKS = 10**7
DUMPS = 5
STATS_MS = 100

BOX_RUNS = 7
FIND_NS = 100
BOXES = (1, 10**4)
TRIP = 2.0
WAITS = ("spin", "futex")


# ---- stats --------------------------------------------------------------------

def measure_stats():
    """Of each dump the milliseconds as text and as JSON, and another process's longest malloc before and meanwhile."""
    samples = []
    name = name_of("stats")
    with life.Process("watch", name, life.CAPACITY) as watcher:
        watcher.asked()
        with life.Process("hold", name, life.CAPACITY, BLOCKS) as holder:
            holder.said()
            for _ in range(DUMPS):
                watcher.asked()
                time.sleep(0.3)
                before = watcher.asked()
                text, json, _ = life.once("stats", name)[0]
                samples.append((text / 1000, json / 1000, before, watcher.asked()))
    return samples


def show_stats(samples):
    text, json, before, during = (quartiles(s) for s in zip(*samples))
    print(f"stats: a dump of {BLOCKS:,} live blocks while another process allocates, {DUMPS} times, median (middle half)\n")
    print("| text, ms | JSON, ms | another process's longest malloc: before, us | meanwhile, us |")
    print("|---:|---:|---:|---:|")
    print("| " + " | ".join(f"{m:.1f} ({low:.1f}..{high:.1f})" for m, low, high in (text, json, before, during)) + " |\n")


def lines_stats(samples):
    text, low, high = quartiles([s[0] for s in samples])
    return [Line(f"stats of {BLOCKS:,} blocks", "shmb", "-", f"{text:.0f} ms", f"{low:.0f}..{high:.0f}",
                 f"≤ {STATS_MS} ms", text / STATS_MS, False)]


# ---- box ----------------------------------------------------------------------

def box(*argv):
    done = subprocess.run([os.path.join(OUT, "box"), *map(str, argv)], capture_output=True, text=True, timeout=90)
    if done.returncode:
        raise life.Failed(done.stderr.strip() or f"box {argv[0]}: status {done.returncode}")
    return [float(x) for x in done.stdout.split()]


def measure_box():
    """What -> its samples, in ns."""
    found = {}
    for _ in range(BOX_RUNS):
        for n in BOXES:
            for what, ns in zip(("find", "find_or_new"), box("find", name_of("box"), n)):
                found.setdefault(f"{what} among {n:,}", []).append(ns)
        for wait in WAITS:
            found.setdefault(f"bare {wait} round trip", []).extend(box("bare", "-", wait))
            found.setdefault(f"message round trip, {wait}", []).extend(box("trip", name_of("box"), wait))
    return found


def show_box(found):
    print(f"box: {BOX_RUNS} runs, ns, median (middle half)\n")
    print("| | ns |")
    print("|---|---:|")
    for what, samples in found.items():
        m, low, high = quartiles(samples)
        print(f"| {what} | {m:.0f} ({low:.0f}..{high:.0f}) |")
    print()


def lines_box(found):
    lines = []
    for n in BOXES:
        m, low, high = quartiles(found[f"find among {n:,}"])
        lines.append(Line(f"box: find among {n:,}", "shmb", "-", f"{m:.0f} ns", f"{low:.0f}..{high:.0f}",
                          f"≤ {FIND_NS} ns", m / FIND_NS, False))
    for wait in WAITS:
        ours, bare = found[f"message round trip, {wait}"], found[f"bare {wait} round trip"]
        _, low, high = quartiles([a / b for a, b in zip(ours, bare)])
        r = quartiles(ours)[0] / quartiles(bare)[0]
        lines.append(Line(f"box: round trip, {wait}", "shmb", f"bare {wait}", f"{r:.2f}", f"{low:.2f}..{high:.2f}",
                          f"≤ {TRIP}", r / TRIP, False))
    return lines
