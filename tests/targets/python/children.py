"""Forks in three ways; each child keeps a block of 50,001 bytes in `child` and ends."""
import multiprocessing
import os
import sys


def child(number):
    keep = bytes(50_001 - 32)
    return len(keep) + number


if __name__ == "__main__":
    pid = os.fork()
    if pid == 0:
        kept = bytes(50_001 - 32)
        child(0)
        os._exit(0)
    os.waitpid(pid, 0)
    for method in ["fork", "spawn"]:
        context = multiprocessing.get_context(method)
        process = context.Process(target=child, args=(1,))
        process.start()
        process.join()
        assert process.exitcode == 0
    sys.stdout.write("done\n")
