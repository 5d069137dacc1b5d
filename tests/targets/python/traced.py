"""Runs a script under tracemalloc, between the marks `from` and `to`, and writes down what
tracemalloc then knows: traced.py OUT FRAMES SCRIPT [ARGUMENTS]

OUT: a list of [traceback, total frames, bytes, blocks, domain]; a traceback is a list of [file,
line], the most recent call first. `total frames` is null where the interpreter does not tell.

Without OUT (`-`) it does not trace, and only sets the marks; where they cannot be set, nobody
records, and nothing else changes.
"""
import ctypes
import json
import sys
import tracemalloc

import _tracemalloc

mark = getattr(ctypes.CDLL(None), "heaptape_mark", len)


def write(out, traces):
    """Writes traces down."""
    rows = {}
    for trace in traces:
        total = trace[3] if len(trace) > 3 else None
        row = rows.setdefault((trace[2], total, trace[0]), [0, 0])
        row[0] += trace[1]
        row[1] += 1
    with open(out, "w") as file:
        rows = [[key[0], key[1], row[0], row[1], key[2]] for key, row in rows.items()]
        json.dump(rows, file)


if __name__ == "__main__":
    out, frames, script = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    with open(script) as file:
        code = compile(file.read(), script, "exec")
    names = {"__name__": "__main__", "__file__": script}
    sys.argv[:] = sys.argv[3:]
    if out == "-":
        mark(b"from")
        exec(code, names)
        mark(b"to")
    else:
        tracemalloc.start(frames)
        mark(b"from")
        exec(code, names)
        mark(b"to")
        traces = _tracemalloc._get_traces()
        tracemalloc.stop()
        write(out, traces)
