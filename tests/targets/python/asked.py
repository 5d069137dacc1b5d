"""Asks tracemalloc where live objects were allocated, chosen by chance: asked.py OUT COUNT SEED
SCRIPT [ARGUMENTS]. The script runs first; the objects are those that are there at the mark `asked`.

OUT: a list of [id, name of the type, traceback]; a traceback is a list of [file, line], the most
recent call first.
"""
import ctypes
import gc
import json
import os
import random
import sys
import tracemalloc

mark = getattr(ctypes.CDLL(None), "heaptape_mark", len)


def chosen(count, seed):
    """Objects that tracemalloc knows: those that the collector tracks, and what they refer to."""
    tracked = gc.get_objects()
    own = {id(tracked), id(sys._getframe())}
    found = {}
    for one in tracked:
        for thing in [one, *gc.get_referents(one)]:
            if id(thing) not in own and id(thing) not in found:
                if tracemalloc.get_object_traceback(thing) is not None:
                    found[id(thing)] = thing
    things = [found[key] for key in sorted(found)]
    return random.Random(seed).sample(things, min(count, len(things)))


out, count, seed, script = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
with open(script) as file:
    code = compile(file.read(), script, "exec")
names = {"__name__": "__main__", "__file__": script}
sys.argv[:] = sys.argv[4:]
tracemalloc.start(25)
exec(code, names)
things = chosen(count, seed)
mark(b"asked")
rows = []
for thing in things:
    traceback = tracemalloc.get_object_traceback(thing)
    frames = [[frame.filename, frame.lineno] for frame in reversed(traceback)]
    rows.append([id(thing), type(thing).__name__, frames])
tracemalloc.stop()
with open(out, "w") as file:
    json.dump(rows, file)
# The collector of 3.12.1 goes in circles about its asyncio, once somebody has held all objects.
os._exit(0)
