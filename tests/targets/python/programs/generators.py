"""Generators: nested, delegated, sent to, thrown into, closed, kept half-way, and their kin."""
import contextlib
import itertools


def numbers(count):
    for i in range(count):
        yield [i, str(i) * 2]


def delegated(depth, count):
    if depth:
        yield from delegated(depth - 1, count)
    else:
        yield from numbers(count)


def averages():
    values, result = [], None
    while True:
        try:
            value = yield result
        except ValueError as error:
            value = len(str(error))
        values.append(float(value) * 1.5)
        result = {"average": sum(values) / len(values), "values": tuple(values[-3:])}


@contextlib.contextmanager
def collected(into):
    extra = ["opened %d" % len(into)]
    yield extra
    into.append(extra)


def closing(into):
    try:
        while True:
            yield bytearray(100)
    finally:
        into.append(bytearray(333))


def run():
    kept = [list(delegated(40, 300)), [next(delegated(i, 3)) for i in range(60)]]
    average = averages()
    next(average)
    answers = [average.send(i) for i in range(300)]
    answers.extend(average.throw(ValueError("x" * i)) for i in range(50))
    kept.extend([average, answers])
    half_way = [numbers(100) for _ in range(200)]
    kept.append([next(generator) for generator in half_way])
    kept.append(half_way)
    opened = []
    for _ in range(100):
        with collected(opened) as extra:
            extra.append([1, 2, 3])
    for _ in range(50):
        generator = closing(opened)
        next(generator)
        generator.close()
    kept.append(opened)
    kept.append(list(itertools.chain.from_iterable(numbers(20) for _ in range(20))))
    kept.append({a: list(b) for a, b in itertools.groupby(range(500), key=lambda n: n // 10)})
    kept.append(list(zip(*[iter(map(str, range(900)))] * 3)))
    return kept


keep = run()
