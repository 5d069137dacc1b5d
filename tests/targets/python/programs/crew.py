"""Threads: a pool, queues, locals of threads, timers, conditions; threads that begin threads."""
import concurrent.futures
import queue
import threading

kept = []
local = threading.local()


def work(number):
    local.seen = getattr(local, "seen", [])
    local.seen.append("seen %d" % number)
    return {"number": number, "rows": [[number, i] for i in range(30)], "seen": list(local.seen)}


def pipeline(source, sink):
    for item in iter(source.get, None):
        sink.put((item, "%r" % item, bytearray(len(item) * 50)))
    sink.put(None)


def begins(depth):
    own = [str(depth) * 10 for _ in range(50)]
    kept.append(own)
    if depth:
        threads = [threading.Thread(target=begins, args=(depth - 1,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def run():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        kept.append(list(pool.map(work, range(100))))
        kept.append([pool.submit(sorted, [3.5, i, 1.5]).result() for i in range(30)])
    source, sink = queue.Queue(), queue.Queue()
    thread = threading.Thread(target=pipeline, args=(source, sink))
    thread.start()
    for i in range(200):
        source.put(["item"] * (i % 5))
    source.put(None)
    kept.append(list(iter(sink.get, None)))
    thread.join()
    begins(3)
    done = threading.Event()
    timer = threading.Timer(0.001, lambda: (kept.append(bytearray(4000)), done.set()))
    timer.start()
    done.wait()
    timer.join()


run()
