"""Words found by patterns, counted, replaced and put in order."""

import collections
import re
import sys

WORD = re.compile(r"(?P<first>[a-z])(?P<rest>[a-z]*)(?P<number>\d*)")


def text(lines):
    return "\n".join(
        " ".join(f"{chr(97 + (line * word) % 26)}word{line % 17}" for word in range(1, 12))
        for line in range(lines)
    )


def counted(content):
    words = collections.Counter()
    for match in WORD.finditer(content):
        words[match.group("first"), match.group("number")] += 1
    return words


def replaced(content):
    return WORD.sub(lambda match: match.group("rest").upper(), content)


def main(rounds):
    content = text(3000)
    total = 0
    for _ in range(rounds):
        total += len(counted(content))
        total += len(replaced(content).split())
        total += len(sorted(content.split(), key=lambda word: word[::-1]))
    print(total)


main(int(sys.argv[1]))
