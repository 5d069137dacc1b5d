"""Lines of code objects, written from SPEC.md §8.15 alone: see decode.py."""

import struct


def lines(code):
    """§8.15: the line of a code object that has not begun, and its ranges of equal lines."""
    if code["form"] not in (1, 2, 3):
        return "0"
    found = []
    begin = 0
    for length, running in line_ranges(code["form"], code["first_line"], code["line_table"]):
        # The instructions of the range, and no instruction is above 2^32 - 2.
        first, begin = (begin + 1) // 2, begin + length
        behind = min((begin + 1) // 2, 2**32 - 1)
        line = running if running < 2**31 else 0
        if first < behind and found and found[-1][1] == line:
            found[-1][0] = behind
        elif first < behind:
            found.append([behind, line])
    first_line = code["first_line"]
    text = str(first_line if first_line < 2**31 else 0)
    return text + "".join(f" {behind}:{line}" for behind, line in found)


def line_ranges(form, running, table):
    """§8.15: length in bytes and running line of each range; 0 where no line is known."""
    if form == 3:
        entries = [at for at, byte in enumerate(table) if byte & 128] + [len(table)]
        for at, behind in zip(entries, entries[1:]):
            code, length = table[at] >> 3 & 15, 2 * ((table[at] & 7) + 1)
            if code in (13, 14):
                running += signed_number(table[at + 1 : behind])
            elif code in (10, 11, 12):
                running += code - 10
            running %= 2**32
            yield length, 0 if code == 15 else running
        return
    for at in range(0, len(table) - 1, 2):
        length, difference = table[at], struct.unpack_from("b", table, at + 1)[0]
        if form == 1:
            yield length, running
            running = (running + difference) % 2**32
        elif difference == -128:
            yield length, 0
        else:
            running = (running + difference) % 2**32
            yield length, running
    if form == 1:
        yield 2**64, running


def signed_number(data):
    value = 0
    for place, byte in enumerate(data):
        value |= (byte & 63) << 6 * place
        if not byte & 64:
            break
    value %= 2**32
    return -(value >> 1) if value & 1 else value >> 1
