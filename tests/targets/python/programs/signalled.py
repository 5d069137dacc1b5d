"""Handlers of signals keep blocks of known sizes: those that a function raises, and those of a
timer, which come at any place."""
import ctypes
import signal

mark = getattr(ctypes.CDLL(None), "heaptape_mark", len)
kept = []
timed = []


def handler(number, frame):
    kept.append(bytes(5001 - 33))


def raiser():
    for _ in range(300):
        signal.raise_signal(signal.SIGUSR1)


def tick(number, frame):
    if len(timed) < 50:
        timed.append(bytes(6001 - 33))


def work():
    rows = []
    while len(timed) < 50:
        rows.append([str(len(rows)), {1: [len(rows)]}])
        if len(rows) > 1000:
            del rows[:]


signal.signal(signal.SIGUSR1, handler)
signal.signal(signal.SIGALRM, tick)
raiser()
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
work()
signal.setitimer(signal.ITIMER_REAL, 0)
mark(b"done")
