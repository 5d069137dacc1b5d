"""Agents that move: objects with slots, method calls, a heap of events, documents of all of them."""

import heapq
import json
import random
import sys


class Place:
    __slots__ = ("x", "y")

    def __init__(self, x, y):
        self.x = x
        self.y = y

    def plus(self, other):
        return Place(self.x + other.x, self.y + other.y)


class Agent:
    def __init__(self, number, dice):
        self.number = number
        self.place = Place(dice.random(), dice.random())
        self.path = []
        self.facts = {"number": number, "name": f"agent {number}"}

    def step(self, time):
        self.place = self.moved(time)
        self.path.append((time, self.place))
        return time + 1 + self.number % 7

    def moved(self, time):
        return self.kept_inside(self.place.plus(Place(0.5, time * 0.001)))

    def kept_inside(self, place):
        return Place(place.x % 10.0, place.y % 10.0)


def document(agents):
    rows = []
    for agent in agents:
        path = [(time, place.x, place.y) for time, place in agent.path[-20:]]
        rows.append({**agent.facts, "path": path})
    return json.dumps(rows)


def main(steps):
    dice = random.Random(7)
    agents = [Agent(number, dice) for number in range(2000)]
    queue = [(agent.number % 11, agent.number) for agent in agents]
    heapq.heapify(queue)
    for _ in range(steps):
        time, number = heapq.heappop(queue)
        heapq.heappush(queue, (agents[number].step(time), number))
    total = 0
    for _ in range(4):
        total += len(json.loads(document(agents)))
    print(total, sum(len(agent.path) for agent in agents))


main(int(sys.argv[1]))
