"""What the children of programs/processes.py do: they keep things, under a tracemalloc of their
own, drop some of what they have inherited, and write down what tracemalloc knows then."""
import _tracemalloc
import json
import os
import sys
import threading
import tracemalloc

import traced

inherited = []


def made(number):
    kept = [[str(i) * 2, {i: [i]}] for i in range(400 + number)]
    kept.append(json.loads(json.dumps({"k%d" % i: [i] for i in range(100)})))
    thread = threading.Thread(target=lambda: kept.append(["in a thread"] * 500))
    thread.start()
    thread.join()
    return kept


def work(number):
    tracemalloc.stop()
    tracemalloc.start(25)
    traced.mark(b"from")
    kept = made(number)
    traced.mark(b"to")
    traces = _tracemalloc._get_traces()
    tracemalloc.stop()
    del inherited[:400]
    traced.mark(b"dropped")
    traced.write("theirs.%d.json" % os.getpid(), traces)
    sys.exit(3 + number + len(kept[:0]))
