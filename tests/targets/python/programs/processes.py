"""Three children, each begun in the same way: processes.py METHOD. They leave what tracemalloc says
of them beside what it says of us (see child_work.py)."""
import multiprocessing
import sys

import child_work

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    child_work.inherited.extend([bytes(7001 - 33) for _ in range(1000)])
    processes = [context.Process(target=child_work.work, args=(i,)) for i in range(3)]
    for process in processes:
        process.start()
    for number, process in enumerate(processes):
        process.join()
        assert process.exitcode == 3 + number, process.exitcode
    kept = [[process.name, str(number)] for number, process in enumerate(processes)]
