"""Why a target is missed, and what was tried: the numbered list in README.md, whose entries begin with the rows they are about."""
import os
import re

README = os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")
ENTRY = re.compile(r"(\d+)\. \*\*(.+?)\*\*:? (.*)")


def entries():
    """Number -> (beginnings of rows' names, text)."""
    found, last = {}, None
    with open(README) as lines:
        for line in lines:
            entry = ENTRY.match(line)
            if entry:
                last = int(entry[1])
                found[last] = (entry[2].split("; "), entry[3].strip())
            elif last and line.startswith("   "):
                rows, text = found[last]
                found[last] = (rows, f"{text} {line.strip()}")
            elif last:
                break
    return found


def number(work, known):
    """Of the entry about that row; None: there is none."""
    about = [(len(row), n) for n, (rows, _) in known.items() for row in rows if work.startswith(row)]
    return max(about)[1] if about else None
