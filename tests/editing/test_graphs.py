"""Every method as an ONNX graph that computes what PyTorch computes, or with a reason why there is none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mimik.editing import exporting, graphs
from mimik.errors import UserError
from mimik.methods import attgan, gannotation, relative_au, stargan
from mimik.settings.modules import FOLDERS
from mimik.training.runs import load_method
from tests.editing.models import make_model
from tests.methods import test_cyclegan, test_displacements, test_ef_gan, test_ganimation, test_icgan, test_methods
from tests.methods.world import method_size
from tests.test_architecture import files_of_a_kind

pytestmark = pytest.mark.slow

needs_onnx = pytest.mark.usefixtures("onnx_is_installed")

CASES: dict[str, Callable[[], Any]] = {
    "stargan": lambda: test_displacements.make(stargan, "warped"),
    "attgan": lambda: test_displacements.make(attgan, "masked"),
    "relative_au": lambda: test_displacements.make(relative_au, "residual"),
    "gannotation": lambda: test_displacements.make(gannotation, "direct"),
    "ganimation": test_ganimation.make,
    "icgan": test_icgan.make,
    "ef_gan": test_ef_gan.make,
    "hier_seg": lambda: test_methods.make("hier_seg", head="warped"),
}
"""Every method once, every head at least once."""


@pytest.fixture(scope="module")
def onnx_is_installed() -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="ONNX graphs need the extra: pip install 'mimik[export]'")


def drawn(make: Callable[[], Any]) -> Any:
    """A method none of whose weights is what it starts from: heads that start as identity would hide a lot."""
    method = make().eval()
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for weight in method.generator.parameters():
            weight += 0.05 * torch.randn(weight.shape, generator=random)
    return method


def test_every_method_is_exported_or_says_why_not() -> None:
    method = test_cyclegan.make()
    assert set(files_of_a_kind("methods")) == {*CASES, "cyclegan"} and FOLDERS["methods"] == "methods"
    with pytest.raises(UserError, match=r"^m: cannot be exported as a graph: it runs only those of its generators"):
        graphs.program_of(method.eval(), method_size(method), "m")


@needs_onnx
@pytest.mark.parametrize("name", CASES)
def test_onnxruntime_computes_what_pytorch_does(name: str) -> None:
    import onnxruntime

    method = drawn(CASES[name])
    size = method_size(method)
    content = graphs.onnx_of(graphs.program_of(method, size, name), {"note": "drawn"}, name)
    apart = graphs.difference(content, method, size)
    # A segmenter's near-ties may fall either way, for single faces.
    assert apart.median <= graphs.TOLERANCE
    assert apart.worst <= graphs.TOLERANCE or name.startswith("hier_seg")
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert session.get_modelmeta().custom_metadata_map == {"note": "drawn"}
    (edited,) = session.get_outputs()
    assert edited.name == "edited" and edited.shape[1:] == [3, size, size] and isinstance(edited.shape[0], str)
    inputs = {value.name: value.shape for value in session.get_inputs()}
    reads_both = method.condition.config.form == "relative" or name in ("gannotation", "ef_gan")
    assert inputs.keys() == {"image", "target", *(["source"] if reads_both else [])}
    assert inputs["target"][1:] == [method.condition.dim]
    # The states decide what comes out.
    given = graphs.example_inputs(method, size, 4, 5)
    first = session.run(None, {key: given[key] for key in inputs})[0]
    given["target"] = given["target"][::-1].copy()
    second = session.run(None, {key: given[key] for key in inputs})[0]
    assert np.abs(first - second).max() > 10 * graphs.TOLERANCE
    if name == "stargan":
        other = test_displacements.make(stargan, "warped")
        assert graphs.difference(content, other, size).median > 10 * graphs.TOLERANCE
        assert min(graphs.speed(content, method, size, 0.0)[:2]) > 0


def test_a_program_holds_the_weights_that_it_needs_alone(tmp_path: Path) -> None:
    made = make_model(tmp_path / "model")
    exporting.export(made, None, program=tmp_path / "stargan.pt2")
    program = torch.export.load(tmp_path / "stargan.pt2")
    assert program.state_dict and not [name for name in program.state_dict if "discriminator" in name]
    method, _ = load_method(made)
    given = [torch.from_numpy(value) for value in graphs.example_inputs(method, 64, 3, 2).values()]
    with torch.no_grad():
        torch.testing.assert_close(program.module()(*given), method.translate(*given))


def test_what_cannot_be_traced_is_told() -> None:
    method = drawn(CASES["stargan"])
    method.translate = lambda images, source, target: images * float(target.sum())
    with pytest.raises(UserError, match="m: cannot be exported as a graph: PyTorch cannot trace its `translate`"):
        graphs.program_of(method, 32, "m")


def test_a_missing_package_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(graphs.importlib, "import_module", absent)
    with pytest.raises(UserError, match=r"Writing ONNX files needs onnx\. Run `pip install 'mimik\[export\]'`\."):
        graphs.onnx_of(None, {}, "m")
