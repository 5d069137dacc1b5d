"""What a script may tell heaptape, the memory recorder.

`heaptape run --py-module -- python3 script.py` puts this module where Python finds it. It works with
Python 3.6 and later, and does nothing while the process is not recorded.

    import heaptape

    heaptape.mark("loaded")

names this moment: `heaptape stats TAPE --at mark:loaded`.
"""

__all__ = ["mark"]

_set_mark = None


def mark(name):
    """Name this moment. The text may be any; up to its first NUL it counts."""
    global _set_mark
    # A lone surrogate has no form in UTF-8: it is written as \\udcff is here.
    name = name.encode("utf-8", "backslashreplace")
    if _set_mark is None:
        # Two threads may come here at once: both find the same.
        _set_mark = _find()
    _set_mark(name)


def _find():
    # Imported here: whoever sets no mark does not pay for it.
    try:
        import ctypes

        # The process's own symbols, the recorder's among them. The lock of the interpreter is kept,
        # as it takes longer to give it back than to set a mark.
        found = ctypes.PyDLL(None).heaptape_mark
    except (ImportError, OSError, AttributeError):
        return lambda name: None
    found.argtypes = [ctypes.c_char_p]
    found.restype = None
    return found
