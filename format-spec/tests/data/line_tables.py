"""Line tables of code objects of the standard library, and the lines that this interpreter reads.

    line_tables.py some|all

Prints a line for each code object: form of the table (SPEC.md §8.15), first line, the table's bytes,
and the lines of all instructions as COUNT:LINE, 0 for none. What the C function says that makes
tracebacks is compared with what the library's own functions say. `some`: those of a few files, for
`lines_of_MAJOR.MINOR.txt` beside this file, written by

    pythonX.Y tests/data/line_tables.py some > tests/data/lines_of_X.Y.txt
"""

import ctypes
import dis
import itertools
import os
import sys
import sysconfig
import types

FORM = 1 if sys.version_info < (3, 10) else 2 if sys.version_info < (3, 11) else 3
SOME = ("contextlib.py", "shlex.py", "stat.py", "queue.py")
FILES_MAX = 120

# What the library seldom has: far jumps, forth and back, and code without a line.
ODD = (
    "async def far(a):\n try:\n  async with a as b:\n   return ["
    + "\n" * 300
    + "x for x in b if\n\n x]\n finally:\n  "
    + "\n" * 9000
    + "  print(a,\n\n\n b, "
    + "\n" * 70
    + "a)\n while a:\n  def inner(x=lambda:\n   a): yield x\n  class C:\n   y: int = 3\n"
)


def code_objects(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from code_objects(constant)


def lines_of(code):
    """The line of each instruction."""
    line_of = ctypes.pythonapi.PyCode_Addr2Line
    count = len(code.co_code) // 2
    lines = [max(line_of(ctypes.py_object(code), 2 * place), 0) for place in range(count)]
    if hasattr(code, "co_lines"):
        said = [0] * count
        for start, end, line in code.co_lines():
            said[start // 2 : end // 2] = [line or 0] * ((end - start) // 2)
    else:
        starts = dict(dis.findlinestarts(code))
        said = [starts.get(0, code.co_firstlineno)] * count
        for place in range(1, count):
            said[place] = starts.get(2 * place, said[place - 1])
    assert lines == said, code
    return lines


def sources(names):
    yield "odd.py", ODD
    folder = sysconfig.get_paths()["stdlib"]
    paths = sorted(
        os.path.join(where, name)
        for where, _, files in os.walk(folder)
        for name in files
        if name.endswith(".py") and "site-packages" not in where and "lib2to3" not in where
    )
    if names:
        paths = [path for path in paths if os.path.dirname(path) == folder]
        paths = [path for path in paths if os.path.basename(path) in names]
    for path in paths[:: max(1, len(paths) // FILES_MAX)]:
        with open(path, "rb") as file:
            yield path, file.read()


def main(which):
    for path, source in sources(SOME if which == "some" else ()):
        try:
            module = compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError):
            continue
        for code in code_objects(module):
            table = code.co_lnotab if FORM == 1 else code.co_linetable
            lines = lines_of(code)
            if which == "some" and len(table) > 300 and path != "odd.py":
                continue
            runs = (f"{len(list(run))}:{line}" for line, run in itertools.groupby(lines))
            print(FORM, code.co_firstlineno, "<" + table.hex() + ">", *runs)


if __name__ == "__main__":
    main(*sys.argv[1:])
