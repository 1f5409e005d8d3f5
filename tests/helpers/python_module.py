"""What tests/python_module.sh runs: examples/python/shmbind.py beside C programs and the tool.

    python_module.py BUILD PREFIX
"""
import ctypes
import gc
import json
import os
import subprocess
import sys
import threading

import numpy
import shmbind

build, prefix = sys.argv[1:]
tool, peer, raw_peer = build + "/shmbind", build + "/tests/helpers/python_peer", build + "/tests/helpers/region_peer"
table_type = shmbind.Type("struct table", 8000, align=8)


def verify(what, got, want):
    assert got == want, f"{what}: {got!r}, want {want!r}"
    print("ok  ", what)


def raises(what, kind, text, function, *arguments, **named):
    try:
        function(*arguments, **named)
    except kind as e:
        verify(f"{what}: {type(e).__name__}: {text}", text in str(e), True)
        return e
    raise AssertionError(f"{what}: nothing was raised")


def exists(name):
    return os.path.exists("/dev/shm" + name)


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


# ---- the library comes late, and threads use it


def work(arena):
    blocks = [arena.malloc(1 + i * 37 % 100_000) for i in range(2000)]
    for i, block in enumerate(blocks):
        block.view()[:] = bytes([i & 0xFF]) * block.size
    assert len({block.ref for block in blocks}) == len(blocks)
    for block in blocks:
        block.free()


def threads(name):
    with shmbind.Arena(name, 1 << 30) as arena:
        workers = [threading.Thread(target=work, args=(arena,)) for _ in range(4)]
        for worker in workers:
            worker.start()
        work(arena)
        for worker in workers:
            worker.join()
        verify("five threads have freed all they allocated", shmbind.stats(name)["live_bytes"], 0)
    verify("closing removes the name", exists(name), False)


# ---- made by Python, seen by the tools and by C


def made_here(name):
    with shmbind.Arena(name, 1 << 24, mode=0o640) as arena:
        verify("made", (arena.how, arena.is_owner, arena.name, arena.capacity), ("created", True, name, 1 << 24))
        box = arena.find_or_new("table", table_type, init=numpy.arange(1000.0).tobytes())
        text = arena.malloc(32)
        verify("a new block is zeros", bytes(text.view()), bytes(32))
        text.view()[:12] = b"from Python\0"
        listed = [r for r in json.loads(run(tool, "ls", "--json"))["regions"] if r["name"] == name]
        verify("`shmbind ls` lists it", [(r["kind"], r["capacity"], r["mode"]) for r in listed], [("arena", 1 << 24, "0640")])
        said = json.loads(run(tool, "stats", name, "--json"))
        verify("`shmbind stats` and stats() agree", shmbind.stats(name)["classes"], said["classes"])
        verify("`shmbind check` finds it sound, and check() says the same", run(tool, "check", name).strip(), shmbind.check(name))
        verify("`shmbind cat` shows the block", run(tool, "cat", name, str(text.ref))[:11], "from Python")
        numbers = box.array("f8")
        verify("C finds box and block", run(peer, "read", name, str(text.ref)), "from Python 499500.0\n")
        verify("what C wrote is in the array that was there before", (numbers[0], numbers.sum()), (-1.0, 499499.0))
        verify("  and in the block", bytes(text.view()).split(b"\0")[0], b"changed by C")
    # the array is still alive: see views_hold()


# ---- made by C, seen by Python


def made_in_c(name):
    c = subprocess.Popen([peer, "make", name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    ref = int(c.stdout.readline())
    with shmbind.Arena(name, flags=shmbind.READ_ONLY) as look:
        array = look.block(ref, 32).array()
        verify("read-only: C's text", bytes(array[:6]), b"from C")
        raises("  cannot be written to", ValueError, "read-only", array.fill, 0)
        raises("  nor by a memoryview", TypeError, "read-only", look.block(ref, 32).view().__setitem__, 0, 1)
        raises("  nor by a structure", PermissionError, "read-only", look.block(ref, 32).structure, ctypes.c_int)
        raises("  nor freed", PermissionError, "read-only", look.block(ref, 32).free)
        del array
    with shmbind.Arena(name) as arena, arena.find("table", table_type) as box:
        verify("attached, not owned", (arena.how, arena.is_owner, box.is_owner, box.created), ("attached", False, False, False))
        verify("C's box by name", (box.array("f8").sum(), box.array("f4", (2, 1000)).shape), (499500.0, (2, 1000)))
        verify("  and by ref", arena.at(box.ref, table_type).array("f8", (10, 10, 10))[9, 9, 9], 999.0)
        box.array("f8")[:2] = 10, 20
        arena.block(ref, 32).view()[:5] = b"both\0"
        raises("another type", shmbind.Error, "another type", arena.find, "table", shmbind.Type("struct table", 16, align=8))
        raises("no such box", FileNotFoundError, "No such file", arena.find, "chair", table_type)
        raises("only its owner drops it", shmbind.Error, "owner", box.drop)
        raises("only the owner leaks a region", shmbind.Error, "owner", arena.leak)
        e = raises("another process owns it", shmbind.Error, "own", arena.own)
        verify("  its code", e.code, shmbind.EOWNED)
        raises("no memory", MemoryError, "no 1073741824 bytes", arena.malloc, 1 << 30)
        raises("no block there", LookupError, "in use", arena.block, 1 << 23, 8)
    verify("leaving it leaves the name", exists(name), True)
    out, _ = c.communicate("go on\n")
    verify("C sees what Python wrote", (c.returncode, out), (0, "both 499529.0\n"))
    raises("gone", FileNotFoundError, name, shmbind.Arena, name)


def raw(name):
    with shmbind.Region(name, 6000) as region:
        region.view()[:15] = b"made by Python\0"
        verify("a raw region", run(raw_peer, "attach", name, "changed by C"), "6000 made by Python\n")
        verify("  both ways", bytes(region.view()).split(b"\0")[0], b"changed by C")
        with shmbind.Region(name) as again:
            verify("  attached by its name alone", (again.size, again.how), (6000, "attached"))
        raises("  asked for more", shmbind.Error, "smaller", shmbind.Region, name, 7000)
        raises("  is no arena", shmbind.Error, "", shmbind.Arena, name)
    verify("  goes when it is closed", exists(name), False)
    region = shmbind.Region(name, 4096)
    region.leak()
    region.close()
    verify("  stays when it was leaked", exists(name), True)
    os.unlink("/dev/shm" + name)


# ---- what would be a crash in C is an exception


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]


def boxes(name):
    point = shmbind.Type("struct point", Point)
    verify("a type by a ctypes structure", (point.size, point.align), (16, 8))
    raises("a size without alignment", TypeError, "align", shmbind.Type, "struct point", 16)
    with shmbind.Arena(name, 1 << 24) as arena:
        with arena.new(point) as box:
            seen = box.structure(Point)
            seen.y = 2.5
            verify("a structure in place", bytes(box.view()), bytes(Point(0, 2.5)))
            raises("too large a structure", ValueError, "16", box.structure, Point * 2)
            raises("a box that is still seen", BufferError, "struct point", box.drop)
            ref = box.ref
            del seen
        raises("dropped at the end of its block", shmbind.Error, "", arena.at, ref, point)
        raises("and not to be used again", ValueError, "dropped", box.view)

        def init(view):
            raise KeyError("in init")

        raises("an exception in init comes through", KeyError, "in init", arena.find_or_new, "p", point, init)
        raises("  and there is no box", FileNotFoundError, "p", arena.find, "p", point)
        raises("  nor where init has too many bytes", ValueError, "", arena.find_or_new, "p", point, bytes(17))
        box = arena.find_or_new("p", point)
        box.leak()
        verify("leaked, nobody's", box.is_owner, False)
        with arena.find("p", point) as again:
            again.own()
        raises("owned and dropped", FileNotFoundError, "p", arena.find, "p", point)
        block = arena.malloc(100)
        view = block.view()
        raises("a block that is still seen", BufferError, "block", block.free)
        view.release()
        block.free()
        raises("freed twice", ValueError, "freed", block.free)


def views_hold(name):
    arena = shmbind.Arena(name, 1 << 24)
    array = arena.malloc(8000).array("f8")
    part = array[10:20]
    del array
    raises("a region that is still seen", BufferError, name, arena.close)
    part[:] = 1
    verify("  is still there", exists(name), True)
    del part
    arena.close()
    arena.close()
    raises("closed", ValueError, "closed", lambda: arena.name)
    raises("a name with a zero byte", ValueError, "zero byte", shmbind.Arena, "/a\0b", 1 << 20)
    raises("a bad name", OSError, "/a/b", shmbind.Arena, "/a/b", 1 << 20)


verify("version", shmbind.version().count("."), 2)
threads(prefix + "threads")
raises("while an array is alive the region stays open", BufferError, "in use", made_here, prefix + "here")
gc.collect()
made_in_c(prefix + "c")
raw(prefix + "raw")
boxes(prefix + "boxes")
views_hold(prefix + "views")
kept = shmbind.Arena(prefix + "exit", 1 << 24)
kept_array = kept.malloc(100).array()
