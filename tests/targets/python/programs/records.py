"""Data classes: made, compared, replaced, copied, made into dictionaries."""
import copy
import dataclasses
import typing


@dataclasses.dataclass
class Point:
    x: int
    y: float
    tags: typing.List[str] = dataclasses.field(default_factory=list)

    def __post_init__(self):
        self.tags.append("point %d" % self.x)


@dataclasses.dataclass(frozen=True, order=True)
class Key:
    name: str
    number: int = 0


@dataclasses.dataclass
class Tree:
    key: Key
    children: typing.List["Tree"] = dataclasses.field(default_factory=list)
    extra: dict = dataclasses.field(default_factory=dict)


def tree(depth, number=0):
    children = [tree(depth - 1, number * 3 + i) for i in range(3)] if depth else []
    return Tree(Key("node %d" % number, number), children, {"depth": depth, number: [number]})


def run():
    points = [Point(i, i / 3) for i in range(1500)]
    moved = [dataclasses.replace(point, x=point.x + 1, tags=[]) for point in points[::3]]
    keys = sorted(Key("key %d" % (i * 7919 % 500), i) for i in range(500))
    grown = tree(5)
    plain = dataclasses.asdict(grown)
    copied = copy.deepcopy(moved[:100])
    made = [dataclasses.make_dataclass("Made%d" % i, ["a", ("b", int, 3)])(i) for i in range(5)]
    return points, moved, keys, grown, plain, copied, made


keep = run()
