#!/usr/bin/python3
"""Draws an array of another process, live. That process need not know: under
`shmbind run` its allocations lie in a region, which is mapped here read-only,
and the numpy array made of it is that memory itself: nothing is copied.

    watch_array.py NAME ROWSxCOLUMNS [FRAMES] [SECONDS]

NAME is the region's. The array is its largest live block, of float64. Draws
FRAMES pictures, one every SECONDS, then says what the sum of the array is.
Needs shmbind in PATH; LIBSHMBIND says where the library is, if the loader does not know.
"""
import json
import os
import subprocess
import sys
import time

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), "python"))
import shmbind

SHADES = " .:-=+*#%@"


def largest_block(name, size):
    """The ref of the largest live block of at least `size` bytes; None: there is none (yet)."""
    said = subprocess.run(["shmbind", "blocks", name, "--json"], capture_output=True, text=True)
    blocks = json.loads(said.stdout)["blocks"] if said.returncode == 0 else []
    found = [b for b in blocks if b["state"] == "live" and b["size"] >= size]
    return int(max(found, key=lambda b: b["size"])["ref"], 16) if found else None


def wait_for_block(name, size):
    for _ in range(200):
        ref = largest_block(name, size)
        if ref is not None:
            return ref
        time.sleep(0.05)
    sys.exit(f"{name}: no live block of {size} bytes")


def map_array(name, shape):
    size = shape[0] * shape[1] * 8
    ref = wait_for_block(name, size)
    arena = shmbind.Arena(name, flags=shmbind.READ_ONLY)  # never closed: the array is looked at to the end
    try:
        array = arena.block(ref, size).array("f8", shape)
    except LookupError:
        sys.exit(f"{name}: the block is gone")
    return array


def draw(array, columns=64):
    rows = columns // 2  # a character is about twice as high as wide
    part = array[:: -(-array.shape[0] // rows), :: -(-array.shape[1] // columns)]
    least, most = part.min(), part.max()
    level = (part - least) / (most - least or 1) * (len(SHADES) - 1)
    if sys.stdout.isatty():
        print("\033[H\033[J", end="")
    print("\n".join("".join(SHADES[int(v)] for v in row) for row in level))
    print(f"least {least:.3f}  most {most:.3f}  rows begun {np.count_nonzero(array[:, 1])} of {array.shape[0]}", flush=True)


def main():
    name, shape = sys.argv[1], tuple(map(int, sys.argv[2].split("x")))
    frames = int(sys.argv[3]) if len(sys.argv) > 3 else 10
    seconds = float(sys.argv[4]) if len(sys.argv) > 4 else 1
    array = map_array(name, shape)
    for _ in range(frames):
        draw(array)
        time.sleep(seconds)
    print("watched: sum %.9f" % array.sum())


main()
