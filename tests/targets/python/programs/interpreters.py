"""Interpreters beside the first: each runs code, keeps something, and ends."""
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

SOURCE = """
kept = [bytearray(2000 + i) for i in range(100)]
def work(n):
    return [str(i) * 3 for i in range(n)]
kept.append(work(500))
import json
kept.append(json.loads(json.dumps({"a%d" % i: [i] for i in range(200)})))
"""

kept = []
running = []
for number in range(3):
    identity = interpreters.create()
    interpreters.run_string(identity, SOURCE)
    kept.append([number] * 100)
    running.append(identity)
for identity in running:
    interpreters.run_string(identity, "kept.append(work(%d))\ndel kept[:50]" % 300)
for identity in running[:2]:
    interpreters.destroy(identity)
kept.append([str(i) for i in range(100)])
