"""Loops of eval, exec and compile: code that lives, and code that dies at once."""
kept = []


def formula(i):
    return eval("[x * %d for x in range(10)]" % i)


def function(i):
    names = {}
    exec("def f(a):\n    b = [a] * %d\n    return {'a': a, 'b': b}\n" % (i % 9), names)
    return names["f"]


def same(count):
    """The same text again and again: the same code, at other places."""
    return [eval("lambda: [1.5, 'same']")() for _ in range(count)]


def made(i):
    return type("Made%d" % i, (), {"value": i, "method": function(i)})


for i in range(400):
    kept.append(formula(i))
    eval("str(%d) * 20" % i)
kept.append([function(i)(i) for i in range(200)])
kept.append(same(500))
kept.append([made(i)().value for i in range(50)])
code = compile("keep.append([bytearray(n) for n in range(50)])", "<compiled>", "exec")
for _ in range(20):
    exec(code, {"keep": kept})
