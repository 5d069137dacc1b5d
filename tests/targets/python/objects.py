"""Keeps objects that were made in many ways."""
import asyncio
import dataclasses
import json
import re
import threading


@dataclasses.dataclass
class Point:
    x: int
    y: list


def points(count):
    return [Point(i, [i] * 3) for i in range(count)]


def generated():
    def rows(count):
        yield from ({"k": i, "v": (i,)} for i in range(count))

    return list(rows(500))


async def chunk(i):
    await asyncio.sleep(0)
    return bytearray(1000 + i)


async def gathered():
    return await asyncio.gather(*[chunk(i) for i in range(50)])


def in_threads(keep):
    def work():
        texts = []
        for i in range(300):
            texts.append(("x%d" % i) * 5)
        keep.append(texts)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def grown():
    numbers = []
    for i in range(5000):
        numbers.append(i * 1000)
    buffer = bytearray()
    for i in range(1500):
        buffer += b"abcd" * 10
    return numbers, buffer


def nested(depth):
    return [depth] if depth == 0 else [nested(depth - 1)]


class Bare:
    def __del__(self):
        bytearray(10)


def with_attributes(i):
    thing = Bare()
    thing.a = i
    thing.b = str(i) * 3
    return thing


def evaluated():
    return [eval("lambda x: [x, %d]" % i) for i in range(200)]


def called_back():
    ordered = sorted([float(i) for i in range(500)], key=lambda x: [-x][0])
    mapped = list(map(lambda x: {x: [x]}, range(200)))
    replaced = re.sub(r"\d", lambda match: match.group() * 2, "1a2b3c" * 20)
    return ordered, mapped, replaced


def raised():
    kept = []
    for i in range(100):
        try:
            [][i]
        except IndexError as error:
            kept.append(str(error) + str(i))
    return kept


keep = [points(800), generated(), asyncio.run(gathered())]
in_threads(keep)
keep.append(json.loads(json.dumps({"a%d" % i: [i, str(i)] for i in range(500)})))
keep.extend([evaluated(), grown(), nested(60), called_back(), raised()])
keep.append([re.compile("a%d" % i) for i in range(30)])
keep.append([with_attributes(i) for i in range(600)])
with_attributes(1)
