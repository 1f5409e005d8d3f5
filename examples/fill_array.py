#!/usr/bin/python3
"""Fills a large numpy array, row after row. It knows nothing of shared memory:
run by `shmbind run --place 'size=1M..'` its array can be watched from outside.

    fill_array.py [N] [SECONDS]
"""
import sys
import time

import numpy as np

n = int(sys.argv[1]) if len(sys.argv) > 1 else 4000
seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 10
field = np.zeros((n, n))
x = np.linspace(-6, 6, n)
began = time.monotonic()
for i, y in enumerate(x):
    r = np.hypot(x, y)
    field[i] = np.sin(3 * r) * np.cos(x + y) / (1 + r)
    time.sleep(max(0.0, began + seconds * (i + 1) / n - time.monotonic()))
print("filled: sum %.9f; return ends it" % field.sum(), flush=True)
sys.stdin.readline()
