"""What the standard library's tracemalloc says of snapshots.

In, on standard input: a JSON list of questions. Out: a JSON list of answers.

A question names a `snapshot`, perhaps an `old` one to compare it with, `filters`, `group_by` and
`cumulative`; without `group_by` it asks for the traces themselves. A filter is a list: the name of
its class, then the arguments of that. Tracebacks are lists of [file, line], the oldest frame first.
"""

import json
import pickletools
import sys
import tracemalloc


def load(path, filters):
    snapshot = tracemalloc.Snapshot.load(path)
    if filters:
        classes = {"Filter": tracemalloc.Filter, "DomainFilter": tracemalloc.DomainFilter}
        snapshot = snapshot.filter_traces([classes[name](*rest) for name, *rest in filters])
    return snapshot


def frames(traceback):
    return [[frame.filename, frame.lineno] for frame in traceback]


def traces(path, snapshot):
    with open(path, "rb") as file:
        pickletools.dis(file, open("/dev/null", "w"))
    rows = [
        [trace.domain, trace.size, frames(trace.traceback), trace.traceback.total_nframe]
        for trace in snapshot.traces
    ]
    return {"limit": snapshot.traceback_limit, "traces": sorted(rows)}


def answer(question):
    filters = question.get("filters", [])
    snapshot = load(question["snapshot"], filters)
    if "group_by" not in question:
        return traces(question["snapshot"], snapshot)
    how = (question["group_by"], question.get("cumulative", False))
    if "old" in question:
        return [
            [frames(row.traceback), row.size, row.count, row.size_diff, row.count_diff]
            for row in snapshot.compare_to(load(question["old"], filters), *how)
        ]
    return [
        [frames(row.traceback), row.size, row.count] for row in snapshot.statistics(*how)
    ]


json.dump([answer(question) for question in json.load(sys.stdin)], sys.stdout)
