"""Documents read and written, and the interpreter's own library read as syntax trees."""

import ast
import inspect
import json
import sys
import textwrap


def record(number):
    return {
        "id": number,
        "name": f"user {number}",
        "tags": [f"tag{number % place}" for place in range(2, 8)],
        "address": {"street": f"street {number % 100}", "number": number / 7},
    }


def documents(count):
    text = json.dumps([record(number) for number in range(count)])
    found = json.loads(text)
    return len(text), len(found)


def trees():
    source = inspect.getsource(textwrap) + inspect.getsource(inspect)
    return sum(1 for _ in ast.walk(ast.parse(source)))


def main(rounds):
    total = 0
    for _ in range(rounds):
        length, count = documents(5000)
        total += length + count
    print(total, trees() > 10_000)


main(int(sys.argv[1]))
