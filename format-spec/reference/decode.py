#!/usr/bin/env python3
"""A second decoder of heaptape tapes, written from SPEC.md alone.

    decode.py [--separate] TAPE...

Prints what is in each tape, as vectors/README.md describes it. It shares no code with the crate and
exists so that two readings of SPEC.md can be compared; it is not fast. `--separate` ends each tape's
text with a NUL. Needs Python 3.9 and zstd: `compression.zstd`, the `zstandard` module, or libzstd.

Functions stand in the order of SPEC.md; § names its sections.
"""

import ctypes
import ctypes.util
import io
import struct
import sys

# §11
EVENTS_MAX = 1_000_000
EVENTS_PAYLOAD_MAX = 67_108_864
OTHER_PAYLOAD_MAX = 8_388_608
ADDRESS_LIMIT = 4_611_686_018_427_387_904
ALIGNMENT_MAX = 63
NODE_ID_MAX = 4_294_967_294
SYMBOL_TEXT_MAX = 67_108_864
HEADER_MAX = 65_536

MASK = (1 << 64) - 1


class Fault(Exception):
    """§1.1: why decoding cannot go on. Its text is the name in the table there."""


# ---------------------------------------------------------------------- §2 integers and texts


class Reader:
    """Reads values off bytes, front to back."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def left(self):
        return len(self.data) - self.at

    def take(self, count):
        if count > self.left():
            raise Fault("truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self):
        return self.take(1)[0]

    def varint(self):
        value = 0
        for place in range(10):
            byte = self.byte()
            if place == 9 and byte > 1:
                raise Fault("overflow")
            value |= (byte & 127) << (7 * place)
            if byte < 128:
                return value
        raise AssertionError("the tenth byte ends every integer")

    def varint_below(self, bits, fault):
        value = self.varint()
        if value >> bits:
            raise Fault(fault)
        return value

    def delta(self, start):
        return (start + unzigzag(self.varint())) & MASK

    def address(self, start):
        value = self.varint()
        difference = unzigzag(value >> 1)
        if value & 1 == 0:
            difference <<= 4
        address = (start + difference) & MASK
        if address >= ADDRESS_LIMIT:
            raise Fault("limit")
        return address

    def bytes(self):
        return self.take(self.varint())

    def text(self):
        try:
            return self.bytes().decode("utf-8")
        except UnicodeDecodeError:
            raise Fault("utf8") from None

    def texts(self):
        return [self.text() for _ in range(self.varint())]

    def end(self):
        if self.left():
            raise Fault("invalid")


def unzigzag(value):
    return -((value + 1) >> 1) if value & 1 else value >> 1


def crc32c_table():
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (0x82F63B78 if byte & 1 else 0)
        yield byte


CRC32C = list(crc32c_table())


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = CRC32C[(value ^ byte) & 255] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283

# ---------------------------------------------------------------------------- §3 tape header

MAGIC = b"\x89HTAPE\r\n"
KNOWN_FEATURES = 0


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

KINDS = {
    1: "events",
    2: "stack nodes",
    3: "domains",
    4: "modules",
    5: "code objects",
    6: "streams",
    7: "process",
    8: "clock pairs",
    9: "resident samples",
    10: "marks",
    11: "lost events",
    12: "epochs",
    13: "children",
    14: "directory",
    15: "symbols",
    16: "end",
}
RESERVED_KINDS = (5, 14)


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


def zstd_of_python(module):
    def one_frame(stored, length):
        decompressor = module.ZstdDecompressor()
        try:
            payload = decompressor.decompress(stored, length + 1)
        except module.ZstdError:
            return None
        return payload if decompressor.eof and not decompressor.unused_data else None

    return one_frame


def zstd_of_zstandard(module):
    def one_frame(stored, length):
        try:
            with module.ZstdDecompressor().stream_reader(io.BytesIO(stored)) as reader:
                if len(reader.read(length + 1)) > length:
                    return None
            frame = module.ZstdDecompressor().decompressobj()
            payload = frame.decompress(stored)
        except module.ZstdError:
            return None
        return payload if frame.eof and not frame.unused_data else None

    return one_frame


def zstd_of_library(name):
    library = ctypes.CDLL(name)
    for function in ("ZSTD_findFrameCompressedSize", "ZSTD_decompress"):
        getattr(library, function).restype = ctypes.c_size_t
    library.ZSTD_findFrameCompressedSize.argtypes = [ctypes.c_char_p, ctypes.c_size_t]
    library.ZSTD_decompress.argtypes = [
        ctypes.c_void_p,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]

    def one_frame(stored, length):
        # Errors are sizes near 2^64.
        if library.ZSTD_findFrameCompressedSize(stored, len(stored)) != len(stored):
            return None
        payload = ctypes.create_string_buffer(max(length, 1))
        found = library.ZSTD_decompress(payload, length, stored, len(stored))
        return payload.raw[:found] if found <= length else None

    return one_frame


def find_zstd():
    try:
        from compression import zstd

        return zstd_of_python(zstd)
    except ImportError:
        pass
    try:
        import zstandard

        if hasattr(zstandard.ZstdDecompressor().decompressobj(), "unused_data"):
            return zstd_of_zstandard(zstandard)
    except ImportError:
        pass
    for name in ("libzstd.so.1", ctypes.util.find_library("zstd")):
        try:
            if name:
                return zstd_of_library(name)
        except OSError:
            pass
    sys.exit("decode.py: no zstd: install libzstd1, or the zstandard module of Python")


one_zstd_frame = find_zstd()

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
            at = min((at + 64 + chunk.stored + 7) // 8 * 8, len(tape)) if content(
                chunk, stored, out
            ) else at + 64
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

(
    OPERATION,
    STAMP,
    DURATION,
    REFERENCE,
    OLD_ADDRESS,
    OLD_SIZE,
    ADDRESS,
    SIZE,
    STACK,
    FREE_STACK,
    ALIGNMENT,
    DOMAIN,
) = range(1, 13)

ALLOC, FREE, REALLOC, MAP, UNMAP, REMAP = range(6)

# §6.3: code: (operation, domain); a domain of None stands in column 12.
OPERATIONS = {
    0: ("malloc", 0),
    1: ("calloc", 0),
    2: ("realloc", 0),
    3: ("reallocarray", 0),
    4: ("posix_memalign", 0),
    5: ("aligned_alloc", 0),
    6: ("memalign", 0),
    7: ("valloc", 0),
    8: ("pvalloc", 0),
    9: ("heaptape_report_alloc", None),
    16: ("PyMem_RawMalloc", 1),
    17: ("PyMem_RawCalloc", 1),
    18: ("PyMem_RawRealloc", 1),
    19: ("PyMem_Malloc", 2),
    20: ("PyMem_Calloc", 2),
    21: ("PyMem_Realloc", 2),
    22: ("PyObject_Malloc", 3),
    23: ("PyObject_Calloc", 3),
    24: ("PyObject_Realloc", 3),
    32: ("free", 0),
    33: ("cfree", 0),
    34: ("free_sized", 0),
    35: ("free_aligned_sized", 0),
    36: ("realloc", 0),
    41: ("heaptape_report_free", None),
    48: ("PyMem_RawFree", 1),
    51: ("PyMem_Free", 2),
    54: ("PyObject_Free", 3),
    64: ("realloc", 0),
    65: ("reallocarray", 0),
    73: ("heaptape_report_realloc", None),
    80: ("PyMem_RawRealloc", 1),
    83: ("PyMem_Realloc", 2),
    86: ("PyObject_Realloc", 3),
    96: ("mmap", 4),
    97: ("sbrk", 4),
    128: ("munmap", 4),
    129: ("sbrk", 4),
    160: ("mremap", 4),
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
    found = {column: Reader(b"") for column in range(1, 13)}
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
        if kind > REMAP:
            raise Fault("invalid")
        name, domain = OPERATIONS.get(code, ("unknown", 4 if code >= 96 else 0))
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
        elif kind in (FREE, REALLOC, UNMAP, REMAP):
            old_address = column[OLD_ADDRESS].address(old_address)
            line += f" old={old_address:#x}"
        if kind in (UNMAP, REMAP):
            line += f" old_size={column[OLD_SIZE].varint()}"
        stack = 0
        if kind in (ALLOC, REALLOC, MAP, REMAP):
            address = column[ADDRESS].address(address)
            line += f" address={address:#x} size={column[SIZE].varint()}"
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
    for reader in (column[number] for number in range(1, 13)):
        reader.end()


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
            raise Fault("invalid")
        if tag == 3:
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
        out("  " + " ".join(f"{name}={shown(FORMS[form](record))}" for name, form in fields))
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
