"""Coroutines of asyncio: tasks, queues, locks, timers, streams of values, errors, context."""
import asyncio
import contextvars

request = contextvars.ContextVar("request", default=None)
kept = []


async def produce(queue, name, count):
    for i in range(count):
        await queue.put({"from": name, "value": [i] * 3, "text": "%s %d" % (name, i)})
        if i % 7 == 0:
            await asyncio.sleep(0)


async def consume(queue, results):
    while True:
        item = await queue.get()
        if item is None:
            return len(results)
        results.append((item["from"], item["text"].upper(), bytearray(len(item["text"]) * 10)))


async def values(count):
    for i in range(count):
        await asyncio.sleep(0)
        yield "value %d" % i


async def locked(lock, i):
    async with lock:
        request.set({"id": i})
        await asyncio.sleep(0.0001 * (i % 3))
        return dict(request.get(), done=True)


async def failing(i):
    try:
        await asyncio.wait_for(asyncio.sleep(10), 0.001)
    except asyncio.TimeoutError as error:
        return "%d %r" % (i, error)


async def main():
    queue = asyncio.Queue(10)
    consumer = asyncio.ensure_future(consume(queue, kept))
    await asyncio.gather(*[produce(queue, "p%d" % i, 150) for i in range(4)])
    await queue.put(None)
    await consumer
    kept.append([value async for value in values(200)])
    lock = asyncio.Lock()
    kept.append(await asyncio.gather(*[locked(lock, i) for i in range(60)]))
    kept.append(await asyncio.gather(*[failing(i) for i in range(20)]))
    loop = asyncio.get_running_loop()
    kept.append(await loop.run_in_executor(None, lambda: [str(i) * 5 for i in range(300)]))


asyncio.run(main())
