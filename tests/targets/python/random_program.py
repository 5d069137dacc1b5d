"""A program made of chance: random_program.py SEED. Functions that call each other, directly and
through C, keep and drop objects."""
import random
import sys

seed = int(sys.argv[1])
chance = random.Random(seed)
COUNT = 24


def expression(depth):
    kinds = ["list", "dict", "text", "bytes", "tuple", "set", "float", "object", "closure"]
    kinds += ["generator", "growth", "subclass", "exception", "recursion", "thread"]
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
        "closure": "closure(x, %d)()" % (size % 9),
        "generator": "list(generated(x, %d))" % size,
        "growth": "grown(x, %d)" % size,
        "subclass": "Child(x, %d)" % size,
        "exception": "raised(x, %d)" % size,
        "recursion": "nested(x, %d)" % min(size, 12),
        "thread": "in_thread(x, %d)" % size,
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
    "import threading",
    "class Node:",
    "    __slots__ = ('value', 'more')",
    "    def __init__(self, value, count):",
    "        self.value = value",
    "        self.more = [None] * count",
    "class Child(Node):",
    "    def __init__(self, value, count):",
    "        super().__init__([value], count)",
    "        self.name = 'child %d' % count",
    "    @property",
    "    def double(self):",
    "        return [self.value, self.name * 2]",
    "def closure(x, count):",
    "    kept = []",
    "    def inner():",
    "        nonlocal kept",
    "        kept = kept + [x] * count",
    "        return lambda: kept",
    "    return inner()",
    "def generated(x, count):",
    "    for i in range(count):",
    "        received = yield {'x': x, 'i': i}",
    "def grown(x, count):",
    "    numbers, names, seen, text = [], {}, set(), ''",
    "    for i in range(count * 5):",
    "        numbers.append(x * 1000 + i)",
    "        names['name %d' % i] = i",
    "        seen.add(i % 17 + x)",
    "        text += 'more'",
    "    return numbers, names, seen, text",
    "def raised(x, count):",
    "    kept = []",
    "    for i in range(count):",
    "        try:",
    "            raise ValueError('%d of %d' % (i, x))",
    "        except ValueError as error:",
    "            kept.append(error.args[0] + '!')",
    "        finally:",
    "            kept.append(i / 3)",
    "    return kept",
    "def nested(x, depth):",
    "    return [x] if depth == 0 else {depth: nested(x + 1, depth - 1)}",
    "def in_thread(x, count):",
    "    kept = []",
    "    def work():",
    "        kept.extend([str(x + i)] for i in range(count))",
    "    thread = threading.Thread(target=work)",
    "    thread.start()",
    "    thread.join()",
    "    return kept",
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
