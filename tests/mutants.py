"""The faults of `tests.mutation`: what is changed in a module's source, and how."""

import ast
import copy
from collections.abc import Iterator
from typing import Any, NamedTuple

PAIRS = (
    ("source", "target"), ("real", "fake"), ("image", "fake"), ("asked", "back"), ("own", "other"), ("own", "asked"),
    ("asked", "third"), ("before", "after"), ("present", "wanted"), ("images", "masks"), ("cycled", "same"),
    ("real_map", "fake_map"), ("real_match", "fake_match"), ("edited", "parsed"), ("low", "high"), ("x", "y"),
    ("made", "image"), ("positive", "wrong"), ("total", "loss"), ("proposed", "wanted"), ("overall", "local"),
    ("rows", "columns"), ("width", "height"), ("left", "top"), ("shapes", "to"), ("given", "made"),
)  # fmt: skip
"""Names that stand for each other's opposite: one is put in the place of the other where a function has both."""

KEYS = (("label", "target"), ("image", "edited"), ("image", "fake"), ("global", "local"), ("adv", "cls"))
"""The same of strings that are looked up."""

BINARY: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.Mod: ast.FloorDiv,
    ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr,
}  # fmt: skip
COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.LtE), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,), ast.NotEq: (ast.Eq,), ast.Is: (ast.IsNot,), ast.IsNot: (ast.Is,), ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}  # fmt: skip
REDUCTIONS = {"mean": "sum", "sum": "mean", "amax": "amin", "amin": "amax", "any": "all", "all": "any"}
DROPPED = {"detach", "abs", "clamp", "square", "clone", "pow"}
"""Methods of a tensor that are left out."""

SYMMETRIC = {"losses.reconstruction", "F.mse_loss", "torch.minimum"}
"""Functions whose first two arguments may change places."""

UNSEEN = {"device", "strict"}
"""Arguments that are left alone: a CPU has one device, and `strict` is a check of its own."""

SCHEDULE = "TRAINING"
"""A module's published schedule is no formula; tests of the settings compare it with the paper's page."""


class Mutant(NamedTuple):
    """One fault: the node at a place of `ast.walk` replaced.

    Attributes:
        place: which node.
        node: what replaces it; None: a statement that is left out.
        first, last: its lines.
        before, after: both as text.
        at_import: whether the line is executed when the module is imported, not by a test.
    """

    place: int
    node: ast.AST | None
    first: int
    last: int
    before: str
    after: str
    at_import: bool


def applied(text: str, mutant: Mutant) -> ast.AST:
    """The tree of a module with one fault."""
    tree = ast.parse(text)
    wanted = next(node for place, node in enumerate(ast.walk(tree)) if place == mutant.place)
    replacement = ast.Pass() if mutant.node is None else copy.deepcopy(mutant.node)

    class Replace(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> Any:
            return ast.copy_location(replacement, node) if node is wanted else self.generic_visit(node)

    return ast.fix_missing_locations(Replace().visit(tree))


def mutants_of(text: str) -> list[Mutant]:
    """All faults that can be put into a module."""
    tree = ast.parse(text)
    places = {node: place for place, node in enumerate(ast.walk(tree))}
    found = []
    for node, scope in _mutable(tree, frozenset(), False):
        for replacement in _faults(node, scope or frozenset()):
            before, after = ast.unparse(node), "nothing" if replacement is None else ast.unparse(replacement)
            if before != after:
                lines = node.lineno, node.end_lineno or node.lineno  # type: ignore[attr-defined]
                found.append(Mutant(places[node], replacement, *lines, before, after, scope is None))
    return sorted(found, key=lambda one: (one.first, one.place, one.after))


def _mutable(node: ast.AST, scope: frozenset[str] | None, inside: bool) -> Iterator[tuple[ast.AST, Any]]:
    """Nodes in which a fault makes sense, with the names of their function (None outside of functions)."""
    for name, value in ast.iter_fields(node):
        if name in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or _left_out(child):
                continue
            if isinstance(child, ast.FunctionDef | ast.Lambda):
                names = frozenset(n.id for n in ast.walk(child) if isinstance(n, ast.Name))
                names |= frozenset(a.arg for a in ast.walk(child) if isinstance(a, ast.arg))
                yield from _mutable(child, names | (scope if inside and scope else frozenset()), True)
            else:
                if isinstance(child, ast.expr | ast.stmt):
                    yield child, scope if inside else None
                yield from _mutable(child, scope, inside)


def _left_out(node: ast.AST) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.Raise | ast.Assert | ast.JoinedStr):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return True
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id == SCHEDULE:
        return True
    return (
        isinstance(node, ast.Assign) and isinstance(node.value, ast.Subscript) and isinstance(node.targets[0], ast.Name)
    )


def _faults(node: ast.AST, scope: frozenset[str]) -> Iterator[ast.AST | None]:
    for kind, faults in KINDS.items():
        if isinstance(node, kind):
            yield from faults(node, scope)


def _with(node: Any, **changes: Any) -> Any:
    made = copy.copy(node)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def _binary(node: Any, _: Any) -> Iterator[Any]:
    if type(node.op) in BINARY:
        yield _with(node, op=BINARY[type(node.op)]())
    yield node.left
    if isinstance(node.op, ast.Add | ast.Mult | ast.BitOr | ast.BitAnd):
        yield node.right


def _unary(node: Any, _: Any) -> Iterator[Any]:
    yield node.operand


def _compare(node: Any, _: Any) -> Iterator[Any]:
    for other in COMPARE.get(type(node.ops[0]), ()):
        yield _with(node, ops=[other(), *node.ops[1:]])


def _boolean(node: Any, _: Any) -> Iterator[Any]:
    yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    for index in range(len(node.values)):
        rest = [*node.values[:index], *node.values[index + 1 :]]
        yield rest[0] if len(rest) == 1 else _with(node, values=rest)


def _constant(node: Any, _: Any) -> Iterator[Any]:
    value = node.value
    if isinstance(value, bool):
        yield ast.Constant(not value)
    elif isinstance(value, int | float):
        others = {value + 1, value * 2} if value != 1 else {type(value)(0), type(value)(2)}
        yield from (ast.Constant(other) for other in sorted(others))


def _branch(node: Any, _: Any) -> Iterator[Any]:
    yield _with(node, test=ast.UnaryOp(ast.Not(), node.test))


def _call(node: Any, _: Any) -> Iterator[Any]:
    function = node.func
    if isinstance(function, ast.Attribute):
        if function.attr in DROPPED:
            yield function.value
        if function.attr in REDUCTIONS:
            yield _with(node, func=_with(function, attr=REDUCTIONS[function.attr]))
        if function.attr == "no_grad":
            yield _with(node, func=_with(function, attr="enable_grad"))
    for index in range(ast.unparse(function) in SYMMETRIC, len(node.args) - 1):
        swapped = [*node.args[:index], node.args[index + 1], node.args[index], *node.args[index + 2 :]]
        yield _with(node, args=swapped)
    if node.args and len(node.args) > 1:
        yield _with(node, args=node.args[:-1])
    for index in [place for place, given in enumerate(node.keywords) if given.arg not in UNSEEN]:
        yield _with(node, keywords=[*node.keywords[:index], *node.keywords[index + 1 :]])


def _name(node: Any, scope: frozenset[str]) -> Iterator[Any]:
    if isinstance(node.ctx, ast.Load):
        for pair in PAIRS:
            for one, other in (pair, pair[::-1]):
                if node.id == one and other in scope:
                    yield ast.Name(other, ast.Load())


def _subscript(node: Any, _: Any) -> Iterator[Any]:
    key = node.slice
    for pair in KEYS:
        for one, other in (pair, pair[::-1]):
            if isinstance(key, ast.Constant) and key.value == one:
                yield _with(node, slice=ast.Constant(other))


def _tuple(node: Any, _: Any) -> Iterator[Any]:
    axes = all(isinstance(one, ast.Constant) and isinstance(one.value, int) for one in node.elts)
    if len(node.elts) > 1 and not axes:
        yield _with(node, elts=[node.elts[1], node.elts[0], *node.elts[2:]])


def _comprehension(node: Any, _: Any) -> Iterator[Any]:
    for index, made in enumerate(node.generators):
        for place, test in enumerate(made.ifs):
            ifs = [*made.ifs[:place], ast.UnaryOp(ast.Not(), test), *made.ifs[place + 1 :]]
            generators = [*node.generators[:index], _with(made, ifs=ifs), *node.generators[index + 1 :]]
            yield _with(node, generators=generators)


def _statement(node: Any, _: Any) -> Iterator[None]:
    kept = isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Subscript)
    if not kept and not (isinstance(node, ast.Expr) and "super().__init__" in ast.unparse(node)):
        yield None


def _setting(node: Any, _: Any) -> Iterator[Any]:
    """A default among `Literal` values: another of them."""
    if isinstance(node.annotation, ast.Subscript) and isinstance(node.value, ast.Constant):
        options = [one.value for one in ast.walk(node.annotation.slice) if isinstance(one, ast.Constant)]
        for option in options:
            if isinstance(option, str) and option != node.value.value:
                yield _with(node, value=ast.Constant(option))


KINDS: dict[Any, Any] = {
    ast.BinOp: _binary, ast.UnaryOp: _unary, ast.Compare: _compare, ast.BoolOp: _boolean, ast.Constant: _constant,
    (ast.If, ast.IfExp): _branch, ast.Call: _call, ast.Name: _name, ast.Subscript: _subscript, ast.Tuple: _tuple,
    (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp): _comprehension,
    (ast.Assign, ast.AugAssign, ast.Expr): _statement, ast.AnnAssign: _setting,
}  # fmt: skip
