#!/bin/bash
# The library can be loaded into a running program, here by Python's ctypes:
# its thread-local storage must fit what the loader keeps for late comers.
set -eu
cd "$(dirname "$0")/.."
case ${SAN:-} in
address | thread)
	echo "skip: the sanitizer's run-time must be loaded first, python is not built with it"
	exit 77
	;;
esac
python=/usr/bin/python3
if ! "$python" -c 'import ctypes' 2>/dev/null; then
	echo "skip: no $python with ctypes"
	exit 77
fi
trap 'rm -f /dev/shm/shmb-test-$$-*' EXIT

"$python" - "${BUILD:-build}/libshmbind.so.0" "/shmb-test-$$-ctypes" <<'PYTHON'
import os, sys, threading
from ctypes import CDLL, POINTER, Structure, byref, c_char_p, c_int, c_size_t, c_uint, c_void_p, memset


class Options(Structure):
    _fields_ = [("size", c_size_t), ("mode", c_uint), ("flags", c_uint), ("run", c_char_p)]


def load(path):
    lib = CDLL(os.path.abspath(path))
    for function, result, *arguments in [
        ("shmb_version", c_char_p),
        ("shmb_strerror", c_char_p, c_int),
        ("shmb_arena_open", c_int, c_char_p, POINTER(Options), POINTER(c_void_p)),
        ("shmb_arena_close", c_int, c_void_p),
        ("shmb_malloc", c_void_p, c_void_p, c_size_t),
        ("shmb_free", None, c_void_p, c_void_p),
        ("shmb_usable_size", c_size_t, c_void_p, c_void_p),
    ]:
        f = getattr(lib, function)
        f.restype, f.argtypes = result, arguments
    return lib


def work(lib, arena):
    blocks = []
    for i in range(2000):
        size = 1 + i * 37 % 100_000
        p = lib.shmb_malloc(arena, size)
        assert p and lib.shmb_usable_size(arena, p) >= size
        memset(p, i & 0xFF, size)
        blocks.append(p)
    assert len(set(blocks)) == len(blocks)
    for p in blocks:
        lib.shmb_free(arena, p)


library, name = sys.argv[1:]
lib = load(library)
print("loaded:", lib.shmb_version().decode())
arena = c_void_p()
err = lib.shmb_arena_open(name.encode(), byref(Options(size=1 << 30)), byref(arena))
assert err == 0, lib.shmb_strerror(err)
work(lib, arena)
print("2000 blocks in the main thread")

done = []
threads = [threading.Thread(target=lambda: (work(lib, arena), done.append(1))) for _ in range(4)]
for t in threads:
    t.start()
for t in threads:
    t.join()
assert len(done) == len(threads), "a thread failed"
print("2000 blocks in each of 4 threads")
assert os.path.exists("/dev/shm" + name)
assert lib.shmb_arena_close(arena) == 0
assert not os.path.exists("/dev/shm" + name)
print("closed, and the name is gone")
PYTHON
