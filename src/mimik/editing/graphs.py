"""A trained generator as a graph that other programs run: ONNX, or a program of `torch.export`.

The graph is the method's `translate`: faces float32 (B, 3, S, S) in [-1, 1], RGB, and the states float32 (B, K) of
`mimik.components.conditions` that they show (`source`) and should show (`target`); the edited faces come out. B is
free. A method whose `translate` decides by the values of its inputs what to compute has no such graph; it says so with
`no_graph`.
"""

import importlib
import json
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mimik.errors import UserError
from mimik.storage.files import first_line

Floats = npt.NDArray[np.float32]

OPSET = 20
"""Version of ONNX's operators; onnxruntime knows it from 1.17 on."""

TOLERANCE = 1e-4
"""Largest difference from PyTorch that a graph may have, on images in [-1, 1]."""

INPUTS = ("image", "source", "target")

BATCHES = (1, 2, 3)
"""Sizes of the batches of faces on which a graph is compared."""


class Apart(NamedTuple):
    """How far the edits of a graph are from PyTorch's, over the faces of `BATCHES`: each face's largest difference.

    The median decides. Where a segmenter finds two classes equally likely up to rounding, its mask may fall either way
    and move a part's box, so that a single face may differ although the graph computes the same.
    """

    median: float
    worst: float


class Speed(NamedTuple):
    """Milliseconds for one face on this machine's CPU, the median of several runs, with equally many threads."""

    torch: float
    onnx: float
    threads: int


class _Translation(nn.Module):
    """`translate` as a module: with the weights that it needs, under names that code may have, and no critic."""

    def __init__(self, method: Any, needed: Callable[[str], bool] = lambda name: True) -> None:
        super().__init__()
        # In a tuple, so that it is no part of this module: one of its networks may be called `global`.
        self._called = (_Called(method),)
        self._places: dict[str, str] = {}
        for name, value in (*self._called[0].named_parameters(), *self._called[0].named_buffers()):
            place = name.removeprefix("method.").replace(".", "__")
            if needed(place):
                self._places[name] = place
                self.register_buffer(place, value.detach())

    def forward(self, image: Tensor, source: Tensor, target: Tensor) -> Tensor:
        weights = {name: getattr(self, place) for name, place in self._places.items()}
        edited: Tensor = torch.func.functional_call(self._called[0], weights, (image, source, target))
        return edited


class _Called(nn.Module):
    def __init__(self, method: Any) -> None:
        super().__init__()
        self.method = method

    def forward(self, *inputs: Tensor) -> Tensor:
        edited: Tensor = self.method.translate(*inputs)
        return edited


def program_of(method: Any, size: int, name: str) -> Any:
    """A method's `translate` as a program of `torch.export`, for any number of faces.

    Args:
        method: a trained method, in evaluation mode on the CPU, in PyTorch's usual memory format.
        size: side of its images.
        name: of the method, for messages.

    Returns:
        `torch.export.ExportedProgram` with the inputs `INPUTS`; it holds the weights that it needs and no others.

    Raises:
        UserError: the method has no graph.
    """
    if reason := getattr(method, "no_graph", None):
        raise UserError(f"{name}: cannot be exported as a graph: {reason}.")
    faces = torch.export.Dim("faces", min=1)
    example = tuple(torch.from_numpy(value) for value in example_inputs(method, size, 2, 0).values())

    def traced(module: nn.Module) -> Any:
        return torch.export.export(module, example, dynamic_shapes=({0: faces},) * 3, strict=False)

    try:
        with torch.no_grad(), _quiet():
            # The critics are known to be left out; what else is not read is seen in the graph.
            program = traced(_Translation(method, lambda place: not place.startswith("discriminator__")))
            used = {node.name for node in program.graph.nodes if node.op == "placeholder" and node.users}
            needed = {str(spec.target) for spec in program.graph_signature.input_specs if spec.arg.name in used}
            if program.state_dict.keys() - needed:
                program = traced(_Translation(method, needed.__contains__))
            return program
    except Exception as error:
        raise UserError(
            f"{name}: cannot be exported as a graph: PyTorch cannot trace its `translate` ({first_line(error)})."
        ) from error


def example_inputs(method: Any, size: int, count: int, seed: int) -> dict[str, Floats]:
    """Smooth pictures and states of a method, by the name of the input.

    Args:
        method: a trained method.
        size: side of the pictures.
        count: how many.
        seed: decides what is drawn.
    """
    random = torch.Generator().manual_seed(seed)
    coarse = torch.rand(count, 3, 8, 8, generator=random) * 2 - 1
    image = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
    condition = method.condition
    if condition.space == "expression":
        source, target = (
            F.one_hot(torch.randint(condition.dim, (count,), generator=random), condition.dim).float() for _ in "st"
        )
    else:
        source, target = (torch.rand(count, condition.dim, generator=random) for _ in "st")
    return dict(zip(INPUTS, (part.numpy() for part in (image, source, target)), strict=True))


def onnx_of(program: Any, about: Mapping[str, str], name: str) -> bytes:
    """An ONNX file of a program of `program_of`, for the operators `OPSET`.

    Args:
        program: what to write.
        about: metadata, which stands in the file.
        name: of the method, for messages.

    Returns:
        the file's bytes. An input that decides nothing (`source`, where the networks are told the target) is left out.

    Raises:
        UserError: the packages of the extra `export` are not installed, or PyTorch cannot convert the program.
    """
    for package in ("onnx", "onnxscript", "onnxruntime"):
        _installed(package)
    try:
        with _quiet():
            made = torch.onnx.export(
                program, (), dynamo=True, opset_version=OPSET, verbose=False, custom_translation_table=_translations()
            )
    except Exception as error:
        reason = first_line(error.__cause__ or error)
        raise UserError(f"{name}: PyTorch cannot convert its graph to ONNX ({reason}).") from error
    assert made is not None
    model = made.model_proto
    read = {given for node in model.graph.node for given in node.input}
    kept = [value for value in model.graph.input if value.name in read]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.output[0].name, before = "edited", model.graph.output[0].name
    for node in model.graph.node:
        for place, output in enumerate(node.output):
            if output == before:
                node.output[place] = "edited"
        for place, given in enumerate(node.input):
            if given == before:
                node.input[place] = "edited"
    model.producer_name = "mimik"
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    content: bytes = model.SerializeToString()
    return content


def described(condition: Any, config: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, str]:
    """The metadata of an ONNX file: what a program needs that has nothing but this file.

    Args:
        condition: of the method.
        config: config.json.
        more: further entries; values that are no text are written as JSON.
    """
    facts = {
        "method": config["method"],
        "dataset": config["dataset"],
        "scale": config["scale"],
        "image_size": config["image_size"],
        "image": "float32 (B, 3, S, S), RGB in [-1, 1], an aligned face",
        "alignment": config.get("template") or "",
        "condition": condition.space,
        "told": condition.config.form,
        "states": list(condition.names),
        "classes": list(config["classes"]),
        **({} if condition.class_units is None else {"class_states": condition.class_units.tolist()}),
        **more,
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in facts.items()}


def difference(content: bytes, method: Any, size: int) -> Apart:
    """How far the edits of an ONNX file are from those of its method, on images in [-1, 1]."""
    session = _session(content, 0)
    found = []
    for draw, count in enumerate(BATCHES):
        given = example_inputs(method, size, count, draw)
        edited = session.run(None, {value.name: given[value.name] for value in session.get_inputs()})[0]
        with torch.inference_mode():
            expected = method.translate(*(torch.from_numpy(given[name]) for name in INPUTS)).numpy()
        found += np.abs(edited - expected).max((1, 2, 3)).tolist()
    return Apart(float(np.median(found)), max(found))


def speed(content: bytes, method: Any, size: int, seconds: float = 1.0) -> Speed:
    """How long one face takes in PyTorch and in onnxruntime; each is measured for about so many seconds."""
    threads = torch.get_num_threads()
    session = _session(content, threads)
    given = example_inputs(method, size, 1, 0)
    tensors = [torch.from_numpy(given[name]) for name in INPUTS]
    own = {value.name: given[value.name] for value in session.get_inputs()}

    def median(run: Callable[[], object]) -> float:
        taken: list[float] = []
        run()
        begun = time.perf_counter()
        while len(taken) < 3 or time.perf_counter() - begun < seconds:
            start = time.perf_counter()
            run()
            taken.append(time.perf_counter() - start)
        return 1000 * float(np.median(taken))

    with torch.inference_mode():
        return Speed(median(lambda: method.translate(*tensors)), median(lambda: session.run(None, own)), threads)


def _session(content: bytes, threads: int) -> Any:
    """An onnxruntime session on the CPU; 0 threads: as many as there are cores."""
    runtime = _installed("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _installed(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise UserError(f"Writing ONNX files needs {package}. Run `pip install 'mimik[export]'`.") from error


def _translations() -> dict[Callable[..., Any], Callable[..., Any]]:
    """Operators that ONNX does not have, in terms of those that it has: running extremes of whole numbers."""
    op: Any = importlib.import_module("onnxscript").opset20

    def running(extreme: Callable[..., Any], beyond: int) -> Callable[..., Any]:
        def translated(values: Any, dim: int) -> Sequence[Any]:
            if dim != -1:
                raise ValueError(f"a running extreme along dimension {dim}")
            places = op.Range(
                op.Constant(value_int=0), op.Squeeze(op.Shape(values, start=-1)), op.Constant(value_int=1)
            )
            row, column = (op.Unsqueeze(places, op.Constant(value_ints=[axis])) for axis in (0, 1))
            every = op.Unsqueeze(values, op.Constant(value_ints=[-2]))
            until = op.Where(op.Greater(row, column), op.Constant(value_int=beyond), every)
            last = op.Constant(value_ints=[-1])
            # The second result, where the extreme stands, is read by nothing.
            return extreme(until, last, keepdims=0), op.Shape(values)

        return translated

    return {
        torch.ops.aten.cummax.default: running(op.ReduceMax, -(2**62)),
        torch.ops.aten.cummin.default: running(op.ReduceMin, 2**62),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' remarks on their own workings."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
