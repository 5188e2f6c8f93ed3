"""What is done to inputs: values in trees of JSON and YAML, and bytes."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple


class Case(NamedTuple):
    """One input: what was done to it, what reads it, and the folder that may change meanwhile, if any."""

    name: str
    action: Callable[[], object]
    output: Path | None = None


VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 5, 63, 2.5, -0.0, 1e30, 10**12, 10**400, "", "x", "64", "os", "../../x", "é\ud800"),
    *([], [[]], [None], ["a", "a"], [1, 2], list(range(50)), {}, {"os": {}}, {"a": {"b": {"c": 1}}}, "y" * 100_000),
)


def deep(levels: int) -> str:
    """JSON of lists in lists."""
    return "[" * levels + "]" * levels


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a tree of dicts and lists."""
    for key, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*path, key)
        yield from places(item, (*path, key))


def with_fault(value: Any, chance: random.Random) -> tuple[str, Any]:
    """A copy of a tree with one to three entries replaced, taken out or renamed."""
    made, told = json.loads(json.dumps(value)), []
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        where = list(places(made))
        if not where:
            break
        *path, last = chance.choice(where)
        parent = made
        for step in path:
            parent = parent[step]
        kind = chance.choice(("replace", "replace", "replace", "remove", "rename"))
        told.append(f"{kind} {'.'.join(map(str, (*path, last)))}")
        if kind == "replace":
            parent[last] = copy.deepcopy(chance.choice(VALUES))  # it may be changed by the next fault
            told[-1] += f" by {str(parent[last])[:20]!r}"
        elif kind == "remove":
            del parent[last]
        elif isinstance(parent, dict):
            parent[f"{last}x"] = parent.pop(last)
    return ", ".join(told), made


def with_bytes(content: bytes, chance: random.Random) -> tuple[str, bytes]:
    """A copy of some bytes, damaged in one of the ways that disks, transfers, editors and attackers have."""
    kind = chance.choice(("flip", "flip", "cut", "zeros", "insert", "repeat", "swap", "numbers", "encode", "empty"))
    made = bytearray(content)
    if not made or kind == "empty":
        return "empty", chance.choice((b"", b"\0", b"\n", b"\xff\xfe", b"PK\3\4", b"%!PS-Adobe-3.0 EPSF-3.0\n{} loop"))
    position = chance.randrange(len(made))
    length = chance.choice((1, 4, 30, 1000))
    if kind == "flip":
        for _ in range(chance.choice((1, 3, 20, 200))):
            made[chance.randrange(len(made))] = chance.randrange(256)
    elif kind == "cut":
        del made[position:]
    elif kind == "zeros":
        made[position : position + length] = bytes(len(made[position : position + length]))
    elif kind == "insert":
        made[position:position] = chance.randbytes(length)
    elif kind == "repeat":
        made[position:position] = made[position : position + length] * chance.choice((1, 100))
    elif kind == "swap":
        other = chance.randrange(len(made))
        made[position], made[other] = made[other], made[position]
    elif kind == "numbers":
        digits = [at for at, byte in enumerate(made) if chr(byte).isdigit()]
        for at in chance.sample(digits, min(len(digits), chance.choice((1, 5)))):
            made[at : at + 1] = chance.choice((b"", b"-1", b"999999999999", b"1e999", b"nan", b"x"))
    else:
        made = bytearray(content.decode("latin-1").encode(chance.choice(("utf-16", "utf-8-sig", "utf-32"))))
    return f"{kind} at {position}", bytes(made)
