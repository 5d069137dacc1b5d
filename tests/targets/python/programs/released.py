"""Threads that call an extension module which allocates without the interpreter's lock, by malloc
and by PyMem_RawMalloc; and a thread of its own that Python knows nothing of."""
import threading

import releasing


def thread_work(number):
    for _ in range(10):
        releasing.work(100, number)


threads = [threading.Thread(target=thread_work, args=(i,)) for i in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
releasing.foreign(50)
