"""Greenlets of gevent: a pool, queues, timeouts, its loop."""
import gevent
import gevent.pool
import gevent.queue

kept = []


def work(number):
    rows = []
    for i in range(20):
        rows.append(["%d %d" % (number, i)] * 3)
        gevent.sleep(0)
    return rows


def produce(queue):
    for i in range(200):
        queue.put({"number": i, "text": str(i) * 4})
    queue.put(StopIteration)


def impatient():
    with gevent.Timeout(0.001, False):
        gevent.sleep(10)
    return "x" * 1000


kept.extend(gevent.pool.Pool(10).map(work, range(40)))
queue = gevent.queue.Queue(5)
gevent.spawn(produce, queue)
kept.append(list(queue))
kept.extend(one.get() for one in [gevent.spawn(impatient) for _ in range(20)])
