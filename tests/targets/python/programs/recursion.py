"""A recursion of 9000 calls that keeps something on its way down and on its way up, seldom: every
traceback that is kept has thousands of frames. It has a thread with a large stack: earlier
versions call themselves by C."""
import sys
import threading

kept = []


def deeper(n):
    if n % 300 == 0:
        kept.append([n])
    result = deeper(n - 1) if n else 0
    if n % 300 == 150:
        kept.append("up %d" % n)
    return result + 1


class Link:
    def __init__(self, n):
        self.n = str(n)
        self.next = Link(n - 1) if n else None


def run():
    kept.append(deeper(9000))
    kept.append(Link(500))


sys.setrecursionlimit(20_000)
threading.stack_size(512 << 20)
thread = threading.Thread(target=run)
thread.start()
thread.join()
