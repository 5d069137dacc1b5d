#!/usr/bin/env python3
"""A second decoder of heaptape tapes, written from SPEC.md alone.

    decode.py [--separate] TAPE...

Prints what is in each tape, as vectors/README.md describes it. It shares no code with the crate
and exists so that two readings of SPEC.md can be compared; it is not fast. `--separate` ends each
tape's text with a NUL. Needs Python 3.9 and zstd (see zstd_frame.py).

Functions stand in the order of SPEC.md; § names its sections.
"""

import struct
import sys

from lines import lines
from values import MASK, Fault, Reader, crc32c
from zstd_frame import one_zstd_frame

# §11
EVENTS_MAX = 1_000_000
EVENTS_PAYLOAD_MAX = 67_108_864
OTHER_PAYLOAD_MAX = 8_388_608
ALIGNMENT_MAX = 63
NODE_ID_MAX = 4_294_967_294
SYMBOL_TEXT_MAX = 67_108_864
HEADER_MAX = 65_536

# ---------------------------------------------------------------------------- §3 tape header

MAGIC = b"\x89HTAPE\r\n"
KNOWN_FEATURES = 7


def tape_header(tape, out):
    """Prints the header and returns its length."""
    if tape[:8] != MAGIC:
        begins = 0 < len(tape) < 8 and MAGIC.startswith(tape)
        raise Fault("truncated" if begins else "not a tape")
    if len(tape) < 16:
        raise Fault("truncated")
    major, minor, length = struct.unpack_from("<HHI", tape, 8)
    if major > 1:
        raise Fault("newer version")
    if not 192 <= length <= HEADER_MAX or length % 8 or major == 0:
        raise Fault("invalid")
    if len(tape) < length:
        raise Fault("truncated")
    if crc32c(tape[: length - 4]) != struct.unpack_from("<I", tape, length - 4)[0]:
        raise Fault("checksum")
    must, may, tape_id, session_id, boot_id = struct.unpack_from("<QQ16s16s16s", tape, 16)
    if must & ~KNOWN_FEATURES:
        raise Fault("unknown feature")
    ticks, start, realtime, boottime, namespace = struct.unpack_from("<5Q", tape, 80)
    pid, page, shift, pointer, architecture, order, clock, library = struct.unpack_from(
        "<II6B", tape, 120
    )
    if order != 1 or clock not in (1, 2) or ticks == 0 or shift > 32:
        raise Fault("invalid")
    out(f"tape version={major}.{minor} header_bytes={length}")
    out(
        f"  must_understand={must:#x} may_ignore={may:#x} tape_id={shown(tape_id)}"
        f" session_id={shown(session_id)} boot_id={shown(boot_id)}"
    )
    out(
        f"  ticks_per_second={ticks} start_ticks={start} start_realtime_ns={realtime}"
        f" start_boottime_ns={boottime} stamp_shift={shift} clock={clock}"
    )
    out(
        f"  pid_namespace={namespace} pid={pid} page_size={page} pointer_bytes={pointer}"
        f" architecture={architecture} c_library={library}"
    )
    return length


# --------------------------------------------------------------------------------- §4 chunks

KINDS = dict(
    enumerate(
        "events|stack nodes|domains|modules|code objects|streams|process|clock pairs|"
        "resident samples|marks|lost events|epochs|children|directory|symbols|end".split("|"),
        start=1,
    )
)
KINDS[18] = "totals"
KINDS[19] = "fork cuts"
KINDS[20] = "folded"
KINDS[21] = "left"
RESERVED_KINDS = (14,)


class Chunk:
    """§4.1: a chunk header."""

    def __init__(self, data):
        if len(data) < 64:
            raise Fault("truncated")
        magic, self.kind, self.codec, self.flags = struct.unpack_from("<4sHBB", data)
        if magic != b"HTck":
            raise Fault("no chunk")
        if crc32c(data[:60]) != struct.unpack_from("<I", data, 60)[0]:
            raise Fault("checksum")
        if self.codec not in (0, 2):
            raise Fault("invalid")
        self.stored, self.length, self.stream, self.count = struct.unpack_from("<4I", data, 8)
        self.stamps = struct.unpack_from("<2Q", data, 24)
        self.sequence, self.first, self.checksum = struct.unpack_from("<QQI", data, 40)
        table = self.kind in KINDS and self.kind != 1 and self.kind not in RESERVED_KINDS
        limit = OTHER_PAYLOAD_MAX if table else EVENTS_PAYLOAD_MAX
        if self.length > limit or self.stored > limit:
            raise Fault("limit")
        if self.codec == 0 and self.length != self.stored:
            raise Fault("invalid")

    def payload(self, stored):
        """§4.2"""
        if crc32c(stored) != self.checksum:
            raise Fault("checksum")
        if self.codec == 0:
            return stored
        payload = one_zstd_frame(stored, self.length)
        if payload is None or len(payload) != self.length:
            raise Fault("decompress")
        return payload

    def line(self, offset):
        first, last = self.stamps
        return (
            f"chunk at {offset}: kind={self.kind} ({KINDS.get(self.kind, 'unknown')})"
            f" codec={self.codec} flags={self.flags} payload_bytes={self.length}"
            f" stream={self.stream} count={self.count} stamps={first}..{last}"
            f" sequence={self.sequence} first={self.first}"
        )


# ------------------------------------------------------------------ §5 scanning and recovery


def scan(tape, start, out):
    at = start
    while at < len(tape):
        fault = None
        try:
            chunk = Chunk(tape[at : at + 64])
            if at + 64 + chunk.stored > len(tape):
                fault = "truncated"
        except Fault as found:
            fault = str(found)
        if fault is None:
            out(chunk.line(at))
            stored = tape[at + 64 : at + 64 + chunk.stored]
            if content(chunk, stored, out):
                at = (at + 64 + chunk.stored + 7) // 8 * 8
            else:
                at += 64
            continue
        if not any(tape[at:]):
            return
        begin = at
        at = next_header(tape, at + 8)
        end = at if at < len(tape) else len(tape.rstrip(b"\0"))
        out(f"damage at {begin}, {end - begin} bytes: {fault}")


def next_header(tape, at):
    while at < len(tape):
        try:
            Chunk(tape[at : at + 64])
            return at
        except Fault:
            at += 8
    return len(tape)


def content(chunk, stored, out):
    """Prints the chunk's records, all or none; False when its payload's checksum is wrong."""
    lines = []
    try:
        payload = chunk.payload(stored)
    except Fault as fault:
        out(f"  unreadable: {fault}")
        return str(fault) != "checksum"
    try:
        if chunk.kind == 1:
            events(chunk, payload, lines.append)
        elif chunk.kind == 2:
            stack_nodes(chunk, payload, lines.append)
        elif chunk.kind == 15:
            symbols(chunk, payload, lines.append)
        elif chunk.kind == 21:
            left(chunk, payload, lines.append)
        elif chunk.kind in RECORDS:
            records(chunk, payload, lines.append)
        elif chunk.flags & 1:
            lines.append("  must be understood")
        else:
            lines.append("  skipped")
    except Fault as fault:
        lines = [f"  unreadable: {fault}"]
    for line in lines:
        out(line)
    return True


# --------------------------------------------------------------------------------- §6 events

COLUMNS = range(1, 13)
OPERATION, STAMP, DURATION, REFERENCE, OLD_ADDRESS, OLD_SIZE = COLUMNS[:6]
ADDRESS, SIZE, STACK, FREE_STACK, ALIGNMENT, DOMAIN = COLUMNS[6:]

ALLOC, FREE, REALLOC, MAP, UNMAP, REMAP, RETAG = range(7)

# §6.3: the codes and operations of each domain; those of None have their domain in column 12.
OPERATIONS_OF_DOMAINS = {
    0: "0 malloc, 1 calloc, 2 realloc, 3 reallocarray, 4 posix_memalign, 5 aligned_alloc,"
    " 6 memalign, 7 valloc, 8 pvalloc, 32 free, 33 cfree, 34 free_sized,"
    " 35 free_aligned_sized, 36 realloc, 64 realloc, 65 reallocarray",
    1: "16 PyMem_RawMalloc, 17 PyMem_RawCalloc, 18 PyMem_RawRealloc, 48 PyMem_RawFree,"
    " 80 PyMem_RawRealloc",
    2: "19 PyMem_Malloc, 20 PyMem_Calloc, 21 PyMem_Realloc, 51 PyMem_Free, 83 PyMem_Realloc",
    3: "22 PyObject_Malloc, 23 PyObject_Calloc, 24 PyObject_Realloc, 54 PyObject_Free,"
    " 86 PyObject_Realloc, 192 PyRefTracer",
    4: "96 mmap, 97 sbrk, 128 munmap, 129 sbrk, 160 mremap",
    None: "9 heaptape_report_alloc, 41 heaptape_report_free, 73 heaptape_report_realloc",
}
OPERATIONS = {
    int(code): (name, domain)
    for domain, operations in OPERATIONS_OF_DOMAINS.items()
    for code, name in (operation.split() for operation in operations.split(", "))
}
ALIGNED = (4, 5, 6)


def columns(chunk, payload):
    """§6.1: a reader for each column."""
    if chunk.count > EVENTS_MAX:
        raise Fault("limit")
    reader = Reader(payload)
    table = reader.take(5 * reader.byte())
    table = [struct.unpack_from("<BI", table, at) for at in range(0, len(table), 5)]
    last = 0
    for column, _ in table:
        if column <= last:
            raise Fault("invalid")
        last = column
    found = {column: Reader(b"") for column in COLUMNS}
    for column, length in table:
        found[column] = Reader(reader.take(length))
    reader.end()
    if found[OPERATION].left() != chunk.count:
        raise Fault("invalid")
    return found


def events(chunk, payload, out):
    column = columns(chunk, payload)
    has_free_stacks = column[FREE_STACK].left() > 0
    stamp, old_address, address = chunk.stamps[0], 0, 0
    allocations = []
    for _ in range(chunk.count):
        code = column[OPERATION].byte()
        kind = code >> 5
        if kind > RETAG:
            raise Fault("invalid")
        name, domain = OPERATIONS.get(code, ("unknown", 4 if 96 <= code < 192 else 0))
        stamp = later(stamp, column[STAMP])
        line = f"  {name} ({code}) stamp={stamp}"
        if kind in (REALLOC, REMAP):
            stamp = later(stamp, column[DURATION])
            line += f" end={stamp}"
        back = column[REFERENCE].varint() if kind in (FREE, REALLOC) else 0
        if back > len(allocations):
            raise Fault("invalid")
        if back:
            place = len(allocations) - back
            line += f" old={allocations[place]:#x} reference={place}"
        elif kind in (FREE, REALLOC, UNMAP, REMAP, RETAG):
            old_address = column[OLD_ADDRESS].address(old_address)
            line += f" old={old_address:#x}"
        if kind in (UNMAP, REMAP):
            line += f" old_size={column[OLD_SIZE].varint()}"
        stack = 0
        if kind in (ALLOC, REALLOC, MAP, REMAP):
            address = column[ADDRESS].address(address)
            line += f" address={address:#x} size={column[SIZE].varint()}"
            stack = column[STACK].varint_below(32, "overflow")
        if kind == RETAG:
            stack = column[STACK].varint_below(32, "overflow")
        if kind in (ALLOC, REALLOC):
            allocations.append(address)
        if kind in (FREE, UNMAP) and has_free_stacks:
            stack = column[FREE_STACK].varint_below(32, "overflow")
        alignment = ""
        if code in ALIGNED:
            log2 = column[ALIGNMENT].byte()
            if log2 > ALIGNMENT_MAX:
                raise Fault("limit")
            alignment = f" alignment_log2={log2}"
        if domain is None:
            domain = column[DOMAIN].varint_below(16, "limit")
        out(f"{line} stack={stack} domain={domain}{alignment}")
    for number in COLUMNS:
        column[number].end()


def later(stamp, column):
    stamp += column.varint()
    if stamp > MASK:
        raise Fault("overflow")
    return stamp


# ---------------------------------------------------------------------------- §7 stack nodes


def stack_nodes(chunk, payload, out):
    if chunk.first < 1 or chunk.first + chunk.count - 1 > NODE_ID_MAX:
        raise Fault("limit")
    reader = Reader(payload)
    offset = 0
    for number in range(chunk.first, chunk.first + chunk.count):
        back = reader.varint()
        if not 1 <= back <= number:
            raise Fault("invalid")
        tagged = reader.varint()
        tag, value = tagged & 3, tagged >> 2
        if value >> 32:
            raise Fault("limit")
        if tag == 2:
            frame = f"code={value} instruction={reader.varint_below(32, 'limit')}"
        elif tag == 3:
            frame = "cut=depth" if value == 1 else "cut=unknown"
        else:
            offset = reader.delta(offset)
            frame = f"module={value} offset={offset:#x} exact={tag}"
        out(f"  node {number} parent={number - back} {frame}")
    reader.end()


# -------------------------------------------------------------------------- §8 table records

RECORDS = {
    3: "id:u16 name:text",
    4: "index:u32 load_bias:u64 start:u64 end:u64 stamp:u64 build_id:bytes path:text",
    6: "index:u32 thread_id:u32 level:u8 stamp:u64 name:text",
    7: (
        "pid:u32 parent_pid:u32 origin:u8 image:u32 cut_stamp:u64 parent_tape:text executable:text"
        " command:texts working_folder:text recorder_version:text options:u32 allocator:text"
        " depth_max:u32 size_min:u64"
    ),
    8: "stamp:u64 monotonic_ns:u64 realtime_ns:u64 boottime_ns:u64",
    9: "stamp:u64 resident_bytes:u64 shared_bytes:u64",
    10: "stamp:u64 stream:u32 name:text",
    11: "stream:u32 count:u64 stamp_first:u64 stamp_last:u64 reason:u8",
    12: "number:u32 watermark:u64 inexact_streams:u32",
    13: "stamp:u64 pid:u32 origin:u8 tape:text command:text reason:text",
    16: (
        "stamp:u64 how:u8 code:u32 allocs:u64 frees:u64 reallocs:u64 maps:u64 lost:u64"
        " message:text"
    ),
    18: "allocated_bytes:u64",
    19: "stream:u32 stamp:u64",
    20: (
        "stamp:u64 sequence:u64 events:u64 allocs:u64 frees:u64 reallocs:u64 maps:u64 reuses:u64"
        " unknown_frees:u64 implied_frees:u64 allocated_bytes:u64 high_stamp:u64 high_bytes:u64"
        " high_count:u64"
    ),
    5: "number:u32 form:u8 first_line:u32 file:text name:text line_table:bytes",
}

FORMS = {
    "u8": lambda reader: reader.varint_below(8, "limit"),
    "u16": lambda reader: reader.varint_below(16, "limit"),
    "u32": lambda reader: reader.varint_below(32, "limit"),
    "u64": lambda reader: reader.varint(),
    "text": lambda reader: reader.text(),
    "texts": lambda reader: reader.texts(),
    "bytes": lambda reader: reader.bytes(),
}


def records(chunk, payload, out):
    fields = [field.split(":") for field in RECORDS[chunk.kind].split()]
    reader = Reader(payload)
    for _ in range(chunk.count):
        record = Reader(reader.bytes())
        values = {name: FORMS[form](record) for name, form in fields}
        text = " ".join(f"{name}={shown(value)}" for name, value in values.items())
        if chunk.kind == 5:
            text += f"\n    lines={lines(values)}"
        out(f"  {text}")
    reader.end()


def shown(value):
    """A field's value as vectors/README.md writes it."""
    if isinstance(value, bytes):
        return f"<{value.hex()}>"
    if isinstance(value, list):
        return "[" + " ".join(map(shown, value)) + "]"
    if isinstance(value, str):
        plain = (" " <= c <= "~" and c not in '"\\' for c in value)
        return '"' + "".join(c if p else f"\\{{{ord(c):x}}}" for c, p in zip(value, plain)) + '"'
    return str(value)


LEFT_MAX = 100_000
STATES = ("alive", "remainder", "inherited")


def left(chunk, payload, out):
    """§8.17"""
    if chunk.count > LEFT_MAX:
        raise Fault("limit")
    reader, each = Reader(payload), range(chunk.count)
    states = reader.take(chunk.count)
    if any(state >= len(STATES) for state in states):
        raise Fault("invalid")
    addresses, stamps, allocated, operations, alignments = [0], [0], [], [], []
    for _ in each:
        addresses.append(reader.address(addresses[-1]))
    sizes = [reader.varint() for _ in each]
    for _ in each:
        stamps.append(reader.delta(stamps[-1]))
    for place in each:
        allocated.append(stamps[place + 1] - reader.varint())
        if allocated[-1] < 0:
            raise Fault("overflow")
    streams = [reader.varint_below(32, "limit") for _ in each]
    stacks = [reader.varint_below(32, "limit") for _ in each]
    for _ in each:
        operations.append(reader.byte())
        if operations[-1] >> 5 > RETAG:
            raise Fault("invalid")
    for _ in each:
        alignments.append(reader.byte())
        if alignments[-1] > ALIGNMENT_MAX:
            raise Fault("limit")
    domains = [reader.varint_below(16, "limit") for _ in each]
    reader.end()
    for place in each:
        code = operations[place]
        out(
            f"  {STATES[states[place]]} address={addresses[place + 1]:#x} size={sizes[place]}"
            f" stamp={stamps[place + 1]} allocated={allocated[place]} stream={streams[place]}"
            f" stack={stacks[place]} {OPERATIONS.get(code, ('unknown',))[0]} ({code})"
            f" alignment_log2={alignments[place]} domain={domains[place]}"
        )


# -------------------------------------------------------------------------------- §9 symbols


def symbols(chunk, payload, out):
    reader = Reader(payload)
    strings = reader.texts()
    text_left = SYMBOL_TEXT_MAX
    offset = 0

    def string():
        nonlocal text_left
        number = reader.varint()
        if number >= len(strings):
            raise Fault("invalid")
        text_left -= len(strings[number].encode())
        if text_left < 0:
            raise Fault("limit")
        return shown(strings[number])

    for _ in range(chunk.count):
        tagged = reader.varint()
        if tagged >> 33:
            raise Fault("limit")
        offset = reader.delta(offset)
        out(f"  symbol module={tagged >> 1} offset={offset:#x} exact={tagged & 1}")
        for _ in range(reader.varint()):
            function, file = string(), string()
            line = reader.varint()
            if line >> 33:
                raise Fault("limit")
            out(f"    {function} {file} line={line >> 1} inlined={line & 1}")
    reader.end()


def main(arguments):
    separate = arguments[:1] == ["--separate"]
    for path in arguments[1:] if separate else arguments:
        with open(path, "rb") as file:
            tape = file.read()
        lines = []
        try:
            scan(tape, tape_header(tape, lines.append), lines.append)
        except Fault as fault:
            lines = [f"refused: {fault}"]
        text = "".join(line + "\n" for line in lines) + ("\0" if separate else "")
        sys.stdout.buffer.write(text.encode("utf-8"))


if __name__ == "__main__":
    main(sys.argv[1:])
