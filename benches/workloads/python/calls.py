"""Calls within calls: each makes a few small objects some twenty frames deep."""

import sys


def leaf(number):
    return [number, str(number), (number, number + 1.5)]


def down(depth, number):
    if depth == 0:
        return leaf(number)
    if number % 3 == 0:
        return down(depth - 1, number + 1)
    return [down(depth - 1, number)]


def weight(found):
    return sum(map(weight, found)) if isinstance(found, list) else 1


def main(rounds):
    kept = []
    total = 0
    for number in range(rounds):
        found = down(12 + number % 9, number)
        total += weight(found)
        if number % 50 == 0:
            kept.append(found)
    print(total, len(kept))


main(int(sys.argv[1]))
