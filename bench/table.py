"""Tables in Markdown: figures as they were measured, and one line for each target with its mark."""
import math
import statistics
import textwrap
from collections import namedtuple

import why
from rows import ABSENT, COUNTED_MOST, FIELD_WORKS, OURS, PRIVATE, WORKS

# One line of the table of targets. value, target: text; off: value / target, met up to 1; no target, no mark.
Line = namedtuple("Line", "work ours beside value spread target off must")


def met(line):
    return line.off <= 1


def mark(line):
    if not line.target:
        return ""
    return "met" if met(line) else f"missed by {(line.off - 1) * 100:.0f}%" if line.off < 3 else f"missed {line.off:.1f}×"


def side_by_side(lines):
    """The library's line and the shim's for the same target are one row."""
    rows = {}
    for line in lines:
        rows.setdefault((line.work, line.beside, line.target), {})[line.ours] = line
    return rows


def cell(line):
    return "-" if not line else f"{line.value} ({line.spread})" if line.spread else line.value


def print_targets(lines):
    print("what is to be reached; ratios are ours / peer, of medians, with the middle half of the rounds' own\n")
    print("| work | library | shim | beside | target | |")
    print("|---|---:|---:|---|---|---|")
    known, shown = why.entries(), {}
    for (work, beside, target), of in side_by_side(lines).items():
        library, shim = (of.get(o) for o in OURS)
        said = mark(library or shim)
        if library and shim and mark(shim) != said:
            said += f", shim {mark(shim)}"
        if not all(met(line) for line in of.values()):
            reason = why.number(work, known)
            said += f" [{reason or 'not missed before'}]"
            shown |= {reason: known[reason][1]} if reason else {}
        print(f"| {work} | {cell(library)} | {cell(shim)} | {beside} | {target} | {said} |")
    targets = [line for line in lines if line.target]
    print(f"\n{sum(map(met, targets))} of {len(targets)} targets met\n")
    for reason, text in sorted(shown.items()):
        print(textwrap.fill(f"[{reason}] {text}", 128, subsequent_indent="    "))
    print()


def figure(ns):
    return f"{ns:.1f}" if ns < 1000 else f"{ns / 1000:.1f}k" if ns < 1e6 else f"{ns / 1e6:.2f}M"


def share(x):
    return f"{x:.2f}" if x >= 0.1 else f"{x:.4f}"


def quartiles(samples):
    ordered = sorted(samples)
    return statistics.median(ordered), ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]


def median(results, work, peer):
    got = results.get(work, {}).get(peer)
    return statistics.median(got) if got else None


def best_private(results, work):
    known = [(median(results, work, p), p) for p in PRIVATE if median(results, work, p) is not None]
    return min(known)[1] if known else None


def ratio(results, work, ours, peer, at):
    """Of medians, and the quartiles of the rounds' own ratios."""
    a, b = results[work].get(ours), results.get(at, {}).get(peer)
    if not a or not b:
        return None
    _, low, high = quartiles([x / y for x, y in zip(a, b)])
    return statistics.median(a) / statistics.median(b), low, high


def print_medians(results, failures, works, peers):
    print("ns per operation, median of rounds\n")
    print("| work | " + " | ".join(peers) + " |")
    print("|---|" + "---:|" * len(peers))
    for w in works:
        cells = []
        for p in peers:
            m = median(results, w, p)
            cells.append("failed" if (w, p) in failures else ABSENT.get((w, p), "no") if m is None else figure(m))
        print(f"| {w} | " + " | ".join(cells) + " |")
    for (w, p), why in failures.items():
        print(f"\n{w}, {p}: {why}")
    print()


def field_line(results, ours):
    """The geometric mean of all that both can do, in threads and in processes, beside mimalloc."""
    ratios = [ratio(results, w, ours, "mimalloc", w) for w in FIELD_WORKS if w in results]
    logs = [math.log(r[0]) for r in ratios if r]
    if not logs:
        return []
    mean, worst = math.exp(statistics.mean(logs)), math.exp(max(logs))
    return [Line(f"field's {len(logs)} loads", ours, "mimalloc", share(mean), f"worst {share(worst)}", "≤ 1.0", mean,
                 False)]


def ratio_lines(results, works, peers):
    lines = []
    for w in works:
        for peer, at, factor, must in WORKS[w]:
            other = best_private(results, at) if peer == "best" else peer
            for ours in (o for o in OURS if o in peers):
                r = ratio(results, w, ours, other, at) if other else None
                if r is None:
                    continue
                beside = other + (" (best)" if peer == "best" else "") + (f" at {at}" if at != w else "")
                lines.append(Line(w, ours, beside, share(r[0]), f"{share(r[1])}..{share(r[2])}", f"≤ {factor}",
                                  r[0] / factor, must))
    for ours in (o for o in OURS if o in peers):
        lines += field_line(results, ours)
    return lines


def count_line(work, ours, call, hit):
    return Line(f"{work}: instructions of {call}", ours, "-", hit, "", f"≤ {COUNTED_MOST}", int(hit) / COUNTED_MOST, False)
