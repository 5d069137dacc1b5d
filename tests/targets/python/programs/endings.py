"""Ends in some way, with known blocks: endings.py HOW"""
import atexit
import ctypes
import os
import signal
import sys
import threading
import time

mark = getattr(ctypes.CDLL(None), "heaptape_mark", len)
kept = []


def keep(size, count):
    for _ in range(count):
        kept.append(bytes(size - 33))


def at_exit():
    keep(8003, 70)
    print("atexit", flush=True)


class Last:
    def __del__(self, bytes=bytes, write=os.write):
        mine = bytes(8005 - 33)
        write(1, b"del %d\n" % len(mine))


def run(how):
    keep(8001, 500)
    del kept[:200]
    if how == "usual":
        atexit.register(at_exit)
        kept.append(Last())
        globals()["circle"] = circle = [Last()]
        circle.append(circle)
    elif how == "daemons":
        begun = threading.Barrier(4)
        for _ in range(3):
            threading.Thread(target=busy, args=(begun,), daemon=True).start()
        begun.wait()
    elif how == "exit":
        os._exit(7)
    elif how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "raised":
        raise RuntimeError("x" * 10)
    elif how == "aborted":
        os.abort()
    elif how == "exec":
        sys.stdout.flush()
        os.execv(sys.argv[2], [sys.argv[2], *sys.argv[:1], "exit"])


def busy(begun):
    begun.wait()
    while True:
        [str(i) * 50 for i in range(200)]


if __name__ == "__main__":
    run(sys.argv[1])
