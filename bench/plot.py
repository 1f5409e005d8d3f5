"""The pictures, by gnuplot, as SVG: cost over live blocks, ratios, memory."""
import os
import shutil
import subprocess

import heap
from rows import LIVE, OURS, OUT, WORKS
from table import best_private, median

COLOURS = {"shmb": "#c0392b", "shim": "#e67e22", "glibc": "#7f8c8d", "jemalloc": "#2980b9", "mimalloc": "#27ae60",
           "tcmalloc": "#8e44ad", "boost": "#34495e", "memkind": "#16a085"}
STYLE = """set terminal svg size {width},{height} dynamic font 'sans-serif,13' background '#ffffff'
set output '{file}'
set border 3 lc rgb '#444444'
set tics nomirror
set grid ytics lc rgb '#dddddd' lt 1
set key outside right top
"""


def gnuplot(name, script, width=900, height=460):
    path = os.path.join(OUT, name + ".svg")
    text = STYLE.format(width=width, height=height, file=path) + script
    done = subprocess.run(["gnuplot"], input=text, capture_output=True, text=True, timeout=60)
    if done.returncode:
        print(f"{name}.svg: {done.stderr.strip()}\n")
        return
    print(f"drawn: {path}")


def block(name, rows):
    return f"${name} << EOD\n" + "\n".join(" ".join(map(str, r)) for r in rows) + "\nEOD\n"


def grow(ns):
    """Cost per operation over the number of live blocks."""
    script, lines = "", []
    for p in [p for p in COLOURS if median(ns, LIVE[10**3], p)]:
        points = [(n, median(ns, w, p)) for n, w in LIVE.items() if median(ns, w, p)]
        script += block("p_" + p, points)
        width = 3 if p in OURS else 1.5
        lines.append(f"$p_{p} with linespoints lw {width} pt 7 ps 0.6 lc rgb '{COLOURS[p]}' title '{p}'")
    script += """set logscale xy
set xlabel 'live blocks of 16 to 112 bytes'
set ylabel 'ns for one replaced'
set format x '10^{%L}'
plot """ + ", ".join(lines) + "\n"
    gnuplot("grow", script)


def ratios(ns):
    """Ours over the best private heap, a bar each; 1 is as fast."""
    rows = []
    for w in (w for w in WORKS if w not in LIVE.values()):
        best, mine = best_private(ns, w), [o for o in OURS if median(ns, w, o)]
        if best and mine:
            rows.append([f'"{w}"'] + [median(ns, w, o) / median(ns, w, best) if median(ns, w, o) else "NaN" for o in OURS])
    script = block("r", rows) + """set style data histograms
set style histogram clustered gap 1
set style fill solid noborder
set logscale y
set yrange [0.02:20]
set xtics rotate by -50
set ylabel 'ours / best private heap (below 1: faster)'
plot """ + ", ".join(f"$r using {i + 2}:xtic(1) lc rgb '{COLOURS[o]}' title '{o}'" for i, o in enumerate(OURS))
    gnuplot("ratios", script + ", 1 with lines lc rgb '#000000' title 'as fast'\n", width=1100)


def memory(taken):
    peers = [p for p in COLOURS if all(by_peer.get(p) for by_peer in taken.values())]
    rows = []
    for load, by_peer in taken.items():
        for which, what in ((0, "peak"), (2, "left")):
            rows.append([f'"{load}, {what}"'] + [max(heap.mib(by_peer[p], which)[0], 0.01) for p in peers])
    script = block("m", rows) + """set style data histograms
set style histogram clustered gap 1
set style fill solid noborder
set logscale y
set yrange [0.1:]
set ylabel 'MiB over an empty heap'
plot """ + ", ".join(f"$m using {i + 2}:xtic(1) lc rgb '{COLOURS[p]}' title '{p}'" for i, p in enumerate(peers)) + "\n"
    gnuplot("memory", script)


def draw(ns, taken):
    if not shutil.which("gnuplot"):
        print("no gnuplot here: nothing drawn")
        return
    grow(ns)
    ratios(ns)
    memory(taken)
