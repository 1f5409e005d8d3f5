"""The memory that loads take: peak, and what stays, each shared page once (memory.c)."""
import subprocess

from rows import OURS, command, environment
from table import Line, quartiles, share

LOADS = ("win", "mstress2t", "fragment")
TAKEN = 3
MIB = 1 << 20
BESIDE, FACTOR = "jemalloc", 1.1
EMPTY_MIB = 2


def measure(peers):
    """Load -> peer -> [(peak, a second after, after more calls)], bytes."""
    taken = {load: {p: [] for p in peers} for load in LOADS}
    for _ in range(TAKEN):
        for load in LOADS:
            for p, preload in peers.items():
                done = subprocess.run(command(p, load, "memory"), env=environment(p, preload), capture_output=True,
                                      text=True, timeout=120)
                if done.returncode == 0:
                    taken[load][p].append([int(x) for x in done.stdout.split()])
    return taken


def mib(samples, which):
    return quartiles([s[which] / MIB for s in samples])


def show(taken):
    print(f"memory: MiB over an empty heap, {TAKEN} runs: the peak; a second after all was freed; "
          "the same after 10,000 more calls\n")
    peers = list(taken[LOADS[0]])
    print("| load | " + " | ".join(peers) + " |")
    print("|---|" + "---:|" * len(peers))
    for load, by_peer in taken.items():
        cells = [" / ".join(f"{mib(s, i)[0]:.1f}" for i in range(3)) if s else "failed" for s in by_peer.values()]
        print(f"| {load} | " + " | ".join(cells) + " |")
    print()


def lines(taken):
    found = []
    for load, by_peer in taken.items():
        for ours in (o for o in OURS if by_peer.get(o)):
            if by_peer.get(BESIDE):
                single = [a[0] / b[0] for a, b in zip(by_peer[ours], by_peer[BESIDE])]
                _, low, high = quartiles(single)
                r = mib(by_peer[ours], 0)[0] / mib(by_peer[BESIDE], 0)[0]
                found.append(Line(f"memory, {load}: peak", ours, BESIDE, share(r), f"{share(low)}..{share(high)}",
                                  f"≤ {FACTOR}", r / FACTOR, False))
            for which, when in ((1, "a second after"), (2, "after more calls")):
                left, low, high = mib(by_peer[ours], which)
                found.append(Line(f"memory, {load}: {when}", ours, "-", f"{left:.1f} MiB", f"{low:.1f}..{high:.1f}",
                                  f"≤ {EMPTY_MIB} MiB", left / EMPTY_MIB, False))
    return found
