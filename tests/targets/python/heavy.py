"""Allocates all the time, in threads and by calls through C, until it is killed or has done
`ROUNDS` rounds: heavy.py [ROUNDS]"""
import os
import sys
import threading

rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 1 << 60


def work(number):
    kept = []
    for i in range(rounds):
        kept.append([str(i) * 3, {i: [i]}, list(map(str, range(5)))])
        if len(kept) > 100:
            del kept[:50]
        if i == 200 and number == 0:
            print("busy %d" % os.getpid(), flush=True)


threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
