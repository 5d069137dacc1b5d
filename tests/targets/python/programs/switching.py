"""Greenlets that switch between each other in the middle of calls; each keeps blocks."""
import greenlet

kept = []


def inner(number, step):
    own = [bytearray(100 + number), "step %d" % step]
    greenlet.getcurrent().parent.switch(own)
    return own + [step]


def middle(number, step):
    return sorted([inner(number, step)], key=lambda value: [len(value)])


def even(number):
    for step in range(10):
        kept.append(middle(number, step))


def odd(number):
    kept.extend(list(map(lambda step: middle(number, step), range(10))))


def round_robin():
    running = [greenlet.greenlet(odd if i % 2 else even) for i in range(30)]
    for number, one in enumerate(running):
        kept.append(one.switch(number))
    while running:
        for one in list(running):
            value = one.switch()
            if one.dead:
                running.remove(one)
            else:
                kept.append(value)


def deep(n):
    if n == 0:
        greenlet.getcurrent().parent.switch(["deep"] * 50)
        return ["came back"] * 50
    return [deep(n - 1)]


round_robin()
sleeping = [greenlet.greenlet(deep) for _ in range(20)]
kept.append([one.switch(5 * i) for i, one in enumerate(sleeping)])
kept.append([one.switch() for one in sleeping[::2]])
del sleeping
kept.append([[i] for i in range(100)])
