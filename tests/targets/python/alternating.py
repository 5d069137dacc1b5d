"""Allocates in turn from few places, under callers that change: through C and back, at several
lines, in generators, at ends of deep recursions. The same in each run."""

import functools
import heapq
import json
import re


class Point:
    def __init__(self, x, y):
        self.x = x
        self.y = [y]

    def __lt__(self, other):
        return self.x < [other.x][0]

    def __add__(self, other):
        return Point(self.x + other.x, len(self.y) + len(other.y))


def pairs(count):
    for index in range(count):
        yield Point(index, index), {"index": [index]}


def deep(count):
    if count == 0:
        return [Point(0, 0), bytes(300)]
    return [count, deep(count - 1)]


def documents():
    text = json.dumps([{"a": [1.5, index], "b": {"c": str(index)}} for index in range(60)], indent=1)
    return json.loads(text, object_hook=lambda pairs: dict(pairs, more=[text[:9]]))


def one_round(number):
    kept = sorted((Point(index % 7, number) for index in range(40)), key=lambda point: [point.x])
    queue = []
    for point, facts in pairs(30):
        heapq.heappush(queue, point); kept.append(facts)
        kept.append(point + queue[0]); kept.append([point, point + point])
    kept.extend(map(lambda value: (value, [value]), range(30)))
    kept.append(functools.reduce(lambda left, right: left + [right], range(30), []))
    kept.append(re.sub("[0-9]+", lambda match: match[0] * 2, "1 22 333 " * 10))
    for depth in (3, 20, 3, 21, 20):
        kept.append(deep(depth))
    return kept, documents()


def main():
    kept = [one_round(number) for number in range(4)]
    del kept[::2]
    kept.append(one_round(9))


main()
