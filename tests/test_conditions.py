import pytest
import torch

from mimik.conditions import class_means, interpolate, label_difference, target_label


def test_labels_become_one_hot_and_their_difference() -> None:
    source, target = torch.tensor([0, 2]), torch.tensor([1, 2])
    assert target_label(target, 3).tolist() == [[0, 1, 0], [0, 0, 1]]
    assert label_difference(source, target, 3).tolist() == [[-1, 1, 0], [0, 0, 0]]


def test_class_means_leave_out_unknown_labels() -> None:
    units = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [1.0, 1.0]])
    means = class_means(units, torch.tensor([1, 0, 1, -1]), ["neutral", "anger"])
    assert means.tolist() == [[1.0, 0.0], [0.25, 0.75]]
    assert means.dtype == torch.float32


def test_class_means_name_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="anger"):
        class_means(torch.zeros(2, 17), torch.tensor([0, -1]), ["neutral", "anger"])
    with pytest.raises(ValueError, match="do not fit"):
        class_means(torch.zeros(2, 17), torch.tensor([0]), ["neutral"])


def test_interpolation_is_linear_and_ends_where_it_should() -> None:
    source, target = torch.rand(3, 17), torch.rand(3, 17)
    way = interpolate(source, target, 5)
    assert way.shape == (5, 3, 17)
    assert torch.equal(way[0], source) and torch.allclose(way[-1], target)
    assert torch.allclose(way[1], 0.75 * source + 0.25 * target)
    for wrong in ((source, target[:2], 5), (source, target, 1)):
        with pytest.raises(ValueError, match="cannot go"):
            interpolate(*wrong)
