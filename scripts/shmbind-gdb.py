# shmbind-gdb.py - the gdb command `shmbind`: the regions of the program that is
# debugged, and what is in them.
#
#   (gdb) source /usr/local/share/shmbind/shmbind-gdb.py
#   (gdb) help shmbind
#
# What is inside a region the tool reads, from the region's file: through the
# program's own memory, looking at what was never touched would allocate it.

import json
import os
import re
import subprocess

import gdb

HERE = os.path.dirname(os.path.abspath(__file__)) # gdb forgets it after loading
SHM = "/dev/shm/"
WINDOW = range(0x500000000000, 0x555000000000) # where arenas are mapped, whatever file system they lie on
DELETED = " (deleted)"


class Region:
    """A mapping of a region's first byte."""

    def __init__(self, start, end, inode, path):
        self.start, self.end = start, end
        self.base = path[: -len(DELETED)] if path.endswith(DELETED) else path
        unnamed = re.search(r"/#(\d+)$", self.base) # made before it had a name, as its maker sees it
        self.inode = inode or (int(unnamed[1]) if unnamed else None)
        self.path = self.named()
        name = os.path.basename(self.path or self.base)
        self.name = "/" + name if os.path.dirname(self.base) + "/" == SHM else os.path.join(os.path.dirname(self.base), name)

    def named(self):
        """The path that leads to it now, or None."""
        root = "" if is_core() else "/proc/%d/root" % gdb.selected_inferior().pid # which may not be ours
        if self.inode is None:
            return root + self.base if os.path.exists(root + self.base) else None
        try:
            entries = list(os.scandir(root + os.path.dirname(self.base)))
        except OSError:
            return None
        return next((e.path for e in entries if e.inode() == self.inode), None)

    def file(self):
        """A path that can be read, whether it has a name or not, or None."""
        mapped = "/proc/%d/map_files/%x-%x" % (gdb.selected_inferior().pid, self.start, self.end)
        for path in (self.path, None if is_core() else mapped):
            if path and os.access(path, os.R_OK):
                return path
        return None


def is_core():
    target = gdb.selected_inferior().connection
    return target is not None and target.type == "core"


def mappings():
    """(start, end, offset, inode or None, path) of what may be read of files."""
    if is_core(): # which tells neither inode nor protection
        for line in gdb.execute("info proc mappings", to_string=True).splitlines():
            m = re.match(r"^\s*0x([0-9a-f]+)\s+0x([0-9a-f]+)\s+0x[0-9a-f]+\s+0x([0-9a-f]+)\s+(/.*)$", line)
            if m:
                yield int(m[1], 16), int(m[2], 16), int(m[3], 16), None, m[4]
        return
    if not gdb.selected_inferior().pid:
        raise gdb.GdbError("no process, and no core file")
    for line in open("/proc/%d/maps" % gdb.selected_inferior().pid, errors="surrogateescape"):
        m = re.match(r"^([0-9a-f]+)-([0-9a-f]+) r\S+ ([0-9a-f]+) \S+ (\d+)\s+(/.*)$", line)
        if m:
            yield int(m[1], 16), int(m[2], 16), int(m[3], 16), int(m[4]), m[5]


def regions():
    """The shared objects that the program has mapped, by address."""
    found = [Region(start, end, inode, path) for start, end, offset, inode, path in mappings()
             if offset == 0 and (path.startswith(SHM) or start in WINDOW)]
    largest = {}
    for r in found: # locks have a page of it mapped
        if r.base not in largest or r.end - r.start > largest[r.base].end - largest[r.base].start:
            largest[r.base] = r
    return [r for r in found if largest[r.base] is r]


def find(name):
    all = regions()
    if name is None and len(all) == 1:
        return all[0]
    if name is None:
        raise gdb.GdbError("which region? " + (", ".join(r.name for r in all) or "the program has none mapped"))
    for r in all:
        if name in (r.name, r.name[1:]):
            return r
    raise gdb.GdbError("%s: the program has no such region mapped" % name)


def tool():
    for path in (os.environ.get("SHMBIND"), HERE + "/../../bin/shmbind", HERE + "/../build/shmbind"):
        if path and os.access(path, os.X_OK):
            return path
    return "shmbind"


def ask(region, verb, *args):
    """What the tool says of the region, as it says it; its complaint as an error of the command."""
    path = region.file()
    if not path:
        raise gdb.GdbError("%s: its file cannot be read: it has no name any more, or is not yours to read" % region.name)
    try:
        p = subprocess.run([tool(), verb, path, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    except OSError as e:
        raise gdb.GdbError("%s: %s; the variable SHMBIND can say where it is" % (tool(), e.strerror))
    said = p.stdout.decode(errors="replace").replace(path, region.name)
    if p.returncode not in (0, 3):
        raise gdb.GdbError(p.stderr.decode(errors="replace").replace(path, region.name).strip())
    return said


def table():
    all = regions()
    if not all:
        gdb.write("the program has no region mapped\n")
    for r in all:
        try:
            s = json.loads(ask(r, "stats", "--json"))
            what = "arena, %d bytes live, %d cached, %d attached" % (s["live_bytes"], s["cached_bytes"], len(s["slots"]))
        except gdb.GdbError as e:
            what = "raw" if "not an arena" in str(e) else str(e)
        gdb.write("%#x-%#x %s%s: %s\n" % (r.start, r.end, r.name, "" if r.path else DELETED, what))


def block(expression):
    at = int(gdb.parse_and_eval(expression)) & (1 << 64) - 1
    inside = [r for r in regions() if r.start <= at < r.end]
    if not inside:
        raise gdb.GdbError("%#x: in no region" % at)
    r, ref = inside[0], at - inside[0].start
    for b in json.loads(ask(r, "blocks", "--json"))["blocks"]:
        first, size = int(b["ref"], 16), int(b["size"])
        if first <= ref < first + size:
            whose = "process %d" % b["pid"] if b["pid"] else "a process that has ended"
            gdb.write("%#x: byte %d of a %s block of %d bytes, %s ref %#x, in memory of %s\n"
                      % (at, ref - first, b["state"], size, r.name, first, whose))
            return
    gdb.write("%#x: %s, in no block\n" % (at, r.name))


class Shmbind(gdb.Command):
    """Shows the shared-memory regions of the program, and what is in them.

shmbind                      the regions that the program has mapped
shmbind block EXPRESSION     the block that the address lies in
shmbind stats|map|blocks|check [NAME]
                             what the tool shmbind shows of one of them

NAME can be left out where there is one region only. The program's memory is
not touched. The environment variable SHMBIND names the tool, where it is
neither on the PATH nor where it was installed."""

    def __init__(self):
        super().__init__("shmbind", gdb.COMMAND_DATA)

    def complete(self, text, word):
        return [v for v in ("block", "stats", "map", "blocks", "check") if v.startswith(word)]

    def invoke(self, text, from_tty):
        self.dont_repeat()
        verb, _, rest = text.strip().partition(" ")
        args = gdb.string_to_argv(rest)
        if not verb:
            table()
        elif verb == "block" and rest.strip():
            block(rest)
        elif verb in ("stats", "map", "blocks", "check") and len(args) <= 1:
            gdb.write(ask(find(args[0] if args else None), verb))
        else:
            raise gdb.GdbError("usage: shmbind [block EXPRESSION | stats|map|blocks|check [NAME]]")


Shmbind()
