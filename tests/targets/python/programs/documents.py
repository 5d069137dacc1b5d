"""JSON there and back, by C and by Python code, and what else reads and writes text."""
import ast
import csv
import io
import json
import json.decoder
import json.encoder
import pickle


class Number:
    def __init__(self, value):
        self.value = value


def unknown(value):
    return {"number": value.value}


def pairs(found):
    return {key.upper(): value for key, value in found}


def document(depth):
    if depth == 0:
        return ["leaf", 1.5, None, True, "\u00e4\u4e2d%d" % depth]
    return {"name": "level %d" % depth, "list": [document(depth - 1) for _ in range(3)]}


def run():
    big = document(6)
    text = json.dumps(big, indent=1)
    kept = [json.loads(text), json.loads(text, object_pairs_hook=pairs)]
    kept.append(json.dumps([Number(i) for i in range(200)], default=unknown))
    slow = json.decoder.JSONDecoder()
    slow.scan_once = json.decoder.scanner.py_make_scanner(slow)
    kept.append(slow.decode(text))
    kept.append("".join(json.encoder.JSONEncoder(indent=2).iterencode(big)))
    lines = io.StringIO()
    writer = csv.writer(lines)
    writer.writerows([i, "row %d" % i, i / 7] for i in range(500))
    kept.append(list(csv.DictReader(io.StringIO(lines.getvalue()), ["a", "b", "c"])))
    kept.append(pickle.loads(pickle.dumps(big)))
    source = "\n".join("def f%d(a, b=%d): return [a, b, {a: %d}]" % (i, i, i) for i in range(40))
    kept.append(ast.parse(source))
    return kept


keep = run()
