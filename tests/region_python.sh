#!/bin/bash
# Raw regions are shared with Python's multiprocessing.shared_memory, made by
# either side.
set -eu
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
python=${PYTHON:-python3}
if ! "$python" -c 'import multiprocessing.shared_memory' 2>/dev/null; then
	echo "skip: no $python with multiprocessing.shared_memory"
	exit 77
fi
trap 'rm -f /dev/shm/shmb-test-$$-*' EXIT

"$python" - "$BUILD/tests/helpers/region_peer" "shmb-test-$$-python" <<'PYTHON'
import os, subprocess, sys
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory

peer, name = sys.argv[1:]
path = "/dev/shm/" + name


def attach(name):
    """Attaches without making Python's resource tracker unlink it at exit."""
    if sys.version_info >= (3, 13):
        return SharedMemory(name=name, track=False)
    shm = SharedMemory(name=name)
    resource_tracker.unregister(shm._name, "shared_memory")
    return shm


def text(shm):
    return bytes(shm.buf[:]).split(b"\0")[0].decode()


def write(shm, s):
    shm.buf[: len(s) + 1] = s.encode() + b"\0"


def verify(what, got, want):
    assert got == want, f"{what}: {got!r}, want {want!r}"
    print(what)


c = subprocess.Popen([peer, "create", name, "5000", "from C"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
verify("C creates", c.stdout.readline(), "ready\n")
shm = attach(name)
verify("Python sees its size, whole pages or exact", shm.size >= 5000 and os.stat(path).st_size, 5000)
verify("Python reads what C wrote", text(shm), "from C")
write(shm, "from Python")
shm.close()
verify("Python's close leaves the name", os.path.exists(path), True)
out, _ = c.communicate("go on\n")
verify("C reads what Python wrote", out, "from Python\n")
verify("C's close removes the name", (c.returncode, os.path.exists(path)), (0, False))

shm = SharedMemory(name=name, create=True, size=6000)
write(shm, "made by Python")
out = subprocess.run([peer, "attach", name, "changed by C"], stdout=subprocess.PIPE, text=True, check=True).stdout
verify("C attaches to what Python created, reads size and bytes", out, "6000 made by Python\n")
verify("Python reads what C wrote into it", text(shm), "changed by C")
verify("the attacher in C left the name", os.path.exists(path), True)
shm.close()
shm.unlink()
verify("Python's unlink removes it", os.path.exists(path), False)
PYTHON
