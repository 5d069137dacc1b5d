"""Faults, integers, texts and the checksum: SPEC.md §1.1 and §2."""

ADDRESS_LIMIT = 4_611_686_018_427_387_904  # §11
MASK = (1 << 64) - 1


class Fault(Exception):
    """§1.1: why decoding cannot go on. Its text is the name in the table there."""


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
