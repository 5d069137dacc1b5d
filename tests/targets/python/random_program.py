"""A program made of chance: random_program.py SEED. Functions that call each other, directly and
through C, keep and drop objects."""
import random
import sys

seed = int(sys.argv[1])
chance = random.Random(seed)
COUNT = 24


def expression(depth):
    kinds = ["list", "dict", "text", "bytes", "tuple", "set", "float", "object"]
    kind = chance.choice(kinds)
    size = chance.randint(0, 40)
    if depth > 0 and chance.random() < 0.3:
        return "[%s, %s]" % (expression(depth - 1), expression(depth - 1))
    return {
        "list": "[x + i for i in range(%d)]" % size,
        "dict": "{i: [i, x] for i in range(%d)}" % size,
        "text": "str(x) * %d" % (size + 1),
        "bytes": "bytearray(x %% 7 + %d)" % (size * 50),
        "tuple": "tuple(range(x, x + %d))" % size,
        "set": "{i * x for i in range(%d)}" % size,
        "float": "[float(i) for i in range(%d)]" % size,
        "object": "Node(x, %d)" % size,
    }[kind]


def call(index):
    """A call of a function with a larger number: there is no circle."""
    if index + 1 >= COUNT:
        return expression(1)
    callee = "f%d" % chance.randint(index + 1, COUNT - 1)
    return chance.choice([
        "%s(x + 1)",
        "list(map(%s, range(2)))",
        "sorted(range(2), key=lambda v: len(str(%s(v))))",
        "[%s(v) for v in (x, x + 1)]",
        "next(iter(walk(%s, x)))",
        "Node(%s(x), 2)",
        "eval('%s(x)', {'x': x, **globals()})",
        "guarded(%s, x)",
    ]) % callee


lines = [
    "class Node:",
    "    __slots__ = ('value', 'more')",
    "    def __init__(self, value, count):",
    "        self.value = value",
    "        self.more = [None] * count",
    "def walk(function, x):",
    "    yield function(x)",
    "def guarded(function, x):",
    "    try:",
    "        return function(x), [][x]",
    "    except IndexError as error:",
    "        return str(error)",
]
for index in range(COUNT):
    lines.append("def f%d(x):" % index)
    for step in range(chance.randint(1, 4)):
        what = call(index) if chance.random() < 0.4 else expression(2)
        lines.append("    a%d = %s" % (step, what))
        if chance.random() < 0.3:
            lines.append("    keep.append(a%d)" % step)
        if chance.random() < 0.2:
            lines.append("    del a%d" % step)
            lines.append("    a%d = None" % step)
    lines.append("    return %s" % expression(1))
keep = []
names = {"keep": keep}
exec(compile("\n".join(lines), "<program %d>" % seed, "exec"), names)
for x in range(6):
    keep.append(names["f%d" % (x % 3)](x))
    if x % 2:
        del keep[:len(keep) // 4]
