"""What is measured: the peers, the workloads of the drivers, and what is to be reached.

A target compares a figure of ours with a peer's, or with the "best" of the
private heaps, at a workload, and says how many times as long ours may take, and
whether BENCH_STRICT insists on it. What is not a ratio to a peer has its target
where it is measured (life.py, look.py, heap.py).
"""
import glob
import os
from collections import namedtuple

BUILD = os.environ.get("BUILD", "../build")
OUT = os.path.join(BUILD, "bench")
LIBS = "/usr/lib/*/"

Peer = namedtuple("Peer", "driver expect preload")  # expect: part of the name of malloc's object
PEERS = {
    "shmb": Peer("driver-shmb", "-", ""),
    "shim": Peer("driver-malloc", "shmbind-preload", os.path.join(BUILD, "libshmbind-preload.so")),
    "hard": Peer("driver-shmb", "-", ""),
    "glibc": Peer("driver-malloc", "libc.so", ""),
    "jemalloc": Peer("driver-malloc", "jemalloc", LIBS + "libjemalloc.so.2"),
    "mimalloc": Peer("driver-malloc", "mimalloc", LIBS + "libmimalloc.so.2"),
    "tcmalloc": Peer("driver-malloc", "tcmalloc", LIBS + "libtcmalloc_minimal.so.4"),
    "boost": Peer("driver-boost", "-", ""),
    "memkind": Peer("driver-memkind", "-", ""),
}
OURS = ("shmb", "shim")
PRIVATE = ("glibc", "jemalloc", "mimalloc", "tcmalloc")

Target = namedtuple("Target", "peer at factor must")


def goals(work, *pairs, must=()):
    """Goals at the workload itself; those that BENCH_STRICT insists on first."""
    return [Target(p, work, f, True) for p, f in must] + [Target(p, work, f, False) for p, f in pairs]


FIELD = ("larson", "threadtest", "thrash", "scratch", "mstress", "xmalloc")
# Those that pass blocks on do so in threads (2t) and between processes of one heap (2x), where private heaps cannot;
# in processes that do not (2p), all can.
PASSED = ["scratch2x", "mstress2x", "xmalloc2x"]
FIELD_WORKS = [name + how for name in FIELD for how in ("2t", "2p") if name + how != "xmalloc2p"] + PASSED
LIVE = {10**e: f"live1e{e}" for e in range(3, 8)}

WORKS = {
    "pair64": goals("pair64", ("best", 1.0), must=[("jemalloc", 1.0)]),
    "win": goals("win", ("jemalloc", 0.8), ("mimalloc", 1.0), ("boost", 0.05), must=[("jemalloc", 1.0)]),
    "win2t": goals("win2t", ("mimalloc", 1.0)),
    "win2p": goals("win2p", ("mimalloc", 1.0), must=[("boost", 1.0)]),
    "xm2t": goals("xm2t", ("best", 0.25)),
    "xm2p": goals("xm2p", must=[("boost", 1.0)]) + [Target("best", "xm2t", 0.4, False)],
    # the field's loads: the target is the geometric mean of all of them (table.py)
    **{work: [] for work in FIELD_WORKS},
    "mid": goals("mid", ("best", 1.0)),
    "big": goals("big", ("best", 1.0)),
    "touch": goals("touch", ("best", 1.0)),
    "reads": goals("reads", ("best", 1.0)),
    "readshuge": [Target("best", "reads", 0.85, False)],
    "realloc2": goals("realloc2", ("best", 1.0)),
    "realloc1.25": goals("realloc1.25", ("best", 1.0)),
    "calloc": goals("calloc", ("best", 1.0)),
    **{work: [] for work in LIVE.values()},
}
# Figures that another workload's driver prints besides its own.
FURTHER = {"reads": "touch", "readshuge": "touch"}
# Mostly the kernel's work, a second and more each: in one round of three.
SLOW = {"touch", "realloc2", "realloc1.25", "live1e6", "live1e7"}
SLOW_EVERY = 3

COUNTED = ("pair64", "win")
COUNTED_AT, COUNTED_MOST = "pair64", 24  # fewer than 25 instructions a hit
HARDENED = ("pair64", "win", "win2t", "win2p", "mid", "big")  # what a hardened region is measured at
COUNTED_PEERS = [p for p in PEERS if p not in ("hard", "boost", "memkind")]  # minutes of single steps

# What a cell says that cannot be. A private heap cannot free another's block. The shim's children have heaps of their own, so two processes on one region are
# the library's row.
ABSENT = {(w, p): "-" for w in ["xm2p"] + PASSED for p in PRIVATE + ("shim",)}
ABSENT |= {(w, "shim"): "-" for w in WORKS if w.endswith("2p")}
ABSENT |= {(w, "hard"): "-" for w in WORKS if w not in HARDENED}
ABSENT |= {(w, "memkind"): "one process" for w in WORKS if w.endswith(("2p", "2x"))}
ABSENT |= {(w, "boost"): "no realloc" for w in ("realloc2", "realloc1.25")} | {("calloc", "boost"): "no calloc"}
ABSENT |= {(w, "boost"): "one tree" for w in LIVE.values()}  # best fit in a tree: minutes to fill


def preload_of(peer):
    """The shared object; '' for none needed; None where it is not installed."""
    pattern = PEERS[peer].preload
    if not pattern:
        return ""
    found = sorted(glob.glob(pattern))
    return os.path.abspath(found[0]) if found else None


def name_of(what):
    """A region's name; with our process id in it, so that what is left of it is nobody else's."""
    return f"/shmb-bench-{os.getpid()}-{what}"


def environment(peer, preload):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SHMBIND_", "MALLOC_", "LD_PRELOAD", "BENCH_"))}
    if preload:
        env["LD_PRELOAD"] = preload
    if peer == "shim":
        env.update(SHMBIND_PLACE="all", SHMBIND_LOG="0", SHMBIND_REGION=name_of(peer))
    if PEERS[peer].driver == "driver-shmb":
        env.update(BENCH_REGION=name_of(peer))
    if peer == "hard":
        env.update(BENCH_HARDENED="1")
    if peer in OURS:
        env.update(BENCH_FILE="/dev/shm" + name_of(peer))
    if peer == "boost":
        env.update(BENCH_SEGMENT=name_of(peer)[1:])
    return env


def command(peer, work, how):
    return [os.path.join(OUT, PEERS[peer].driver), work, PEERS[peer].expect, how]
