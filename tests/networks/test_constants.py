import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from mimik.networks.constants import constant


def test_values_are_kept_by_type_and_device() -> None:
    first = constant(((0.25, 0.5), (1.0, 2.0)), torch.float32, "cpu")
    assert torch.equal(first, torch.tensor([[0.25, 0.5], [1.0, 2.0]]))
    assert constant([[0.25, 0.5], [1.0, 2.0]], torch.float32, torch.device("cpu")) is first
    other = constant(((0.25, 0.5), (1.0, 2.0)), torch.float64, "cpu")
    assert other.dtype == torch.float64 and torch.equal(other, first.double())
    assert constant((True, False), torch.bool, "cpu").tolist() == [True, False]
    assert constant((1, 0), torch.int64, "cpu").tolist() == [1, 0]


def test_elsewhere_values_are_written_by_the_device() -> None:
    made = constant(((0.1, 0.2, 0.3), (1, 2, 3)), torch.float32, "meta")
    assert made.is_meta and made.shape == (2, 3) and made.dtype == torch.float32


def test_what_inference_made_can_be_trained_with() -> None:
    with torch.inference_mode():
        made = constant((3.0, 5.0), torch.float32, "cpu")
    weight = torch.ones(2, requires_grad=True)
    (weight * made).sum().backward()
    assert not made.is_inference() and weight.grad is not None and torch.equal(weight.grad, made)


@pytest.mark.parametrize("real_first", [True, False])
def test_fake_tensors_stay_with_who_traces(real_first: bool) -> None:
    values = (11.0, 12.0, float(real_first))
    if real_first:
        constant(values, torch.float32, "cpu")
    with FakeTensorMode():
        assert isinstance(constant(values, torch.float32, "cpu"), FakeTensor)
    assert type(constant(values, torch.float32, "cpu")) is Tensor


def test_compiled_code_holds_the_values() -> None:
    def scaled(x: Tensor) -> Tensor:
        return x * constant((2.0, 4.0, 8.0), torch.float32, x.device)

    x = torch.rand(5, 3)
    compiled = torch.compile(scaled, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), scaled(x), rtol=0, atol=0)
