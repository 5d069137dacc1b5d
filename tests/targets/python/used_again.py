"""A list's memory that the interpreter keeps for the next list. Writes its address."""

import heaptape


def first_user():
    return []


def second_user():
    return []


def play():
    kept = first_user()
    address = id(kept)
    heaptape.mark("first")
    del kept
    kept = second_user()
    heaptape.mark("second")
    assert id(kept) == address
    print(hex(address))


play()
