import pytest
import torch

from mimik import face_parts
from mimik.labels import PARTS, SEGMENTATION_CLASSES

ALL = tuple(PARTS)


def test_parts_are_disjoint_and_hold_their_classes() -> None:
    labels = torch.arange(19).view(1, 1, 19)
    hard = face_parts.hard_part_masks(labels, ALL)
    assert hard.sum(1).max() == 1
    for index, part in enumerate(ALL):
        assert {SEGMENTATION_CLASSES[i] for i in hard[0, index, 0].nonzero()[:, 0].tolist()} == set(PARTS[part])
    probabilities = torch.softmax(torch.randn(2, 19, 4, 4), 1)
    soft = face_parts.part_masks(probabilities, ALL)
    torch.testing.assert_close(soft[:, ALL.index("nose")], probabilities[:, SEGMENTATION_CLASSES.index("nose")])
    assert (soft.sum(1) <= 1 + 1e-6).all()


def test_tight_boxes() -> None:
    masks = torch.zeros(1, 2, 8, 10, dtype=torch.bool)
    masks[0, 0, 2:5, 3:7] = True
    masks[0, 1, 7, 9] = True
    assert face_parts.tight_boxes(masks).tolist() == [[[3, 2, 7, 5], [9, 7, 10, 8]]]


def test_boxes_grow_and_stay_inside() -> None:
    boxes = torch.tensor([[[3.0, 2.0, 7.0, 5.0], [30.0, 30.0, 32.0, 32.0]]])
    grown = face_parts.grow_boxes(boxes, margin=1, least=6, size=32)
    assert grown[0, 0].tolist() == [2, 0.5, 8, 6.5]
    assert grown[0, 1].tolist() == [26, 26, 32, 32]


@pytest.mark.parametrize(("space", "background"), [("unit", -1.0), ("signed", 0.0)])
def test_masked_out_pixels_are_background(space: str, background: float) -> None:
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    masks = torch.zeros(2, 2, 4, 4)
    masks[:, 0] = 1
    parts = face_parts.apply_mask(images, masks, space)  # type: ignore[arg-type]
    torch.testing.assert_close(parts[:, 0], images)
    assert (parts[:, 1] == background).all()


def test_crop_then_paste_gives_the_image_back() -> None:
    ramp = torch.linspace(-0.9, 0.9, 32)
    images = (ramp[None, :] * 0.6 + ramp[:, None] * 0.4).expand(1, 1, 3, 32, 32)
    box = torch.tensor([[[8.0, 4.0, 24.0, 20.0]]])
    crop = face_parts.crop(images, box, 16)
    torch.testing.assert_close(crop[0, 0], images[0, 0, :, 4:20, 8:24])
    placed = face_parts.paste(crop, box, 32, "unit")
    torch.testing.assert_close(placed[0, 0, :, 5:19, 9:23], images[0, 0, :, 5:19, 9:23])
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[3:21, 7:25] = False
    assert (placed[0, 0][:, outside] == -1).all()


def test_combination() -> None:
    placed = torch.tensor([-1.0, 0.5, -0.5, 0.75]).view(1, 4, 1, 1, 1).expand(1, 4, 3, 2, 2)
    assert face_parts.combine(placed, "max", "unit").unique().tolist() == [0.75]
    assert face_parts.combine(placed[:, :2], "sum", "unit").unique().tolist() == [0.5]
    assert face_parts.combine(placed, "sum", "unit").unique().tolist() == [1.0]
    assert face_parts.combine(placed[:, 1:3], "sum", "signed").unique().tolist() == [0.0]


def test_gradient_flows_to_image_and_mask_through_crop_and_paste() -> None:
    images = torch.rand(1, 3, 16, 16).requires_grad_(True)
    masks = torch.rand(1, 4, 16, 16).requires_grad_(True)
    boxes = torch.tensor([[[2.0, 2.0, 10.0, 10.0]] * 4])
    parts = face_parts.apply_mask(images, masks, "unit")
    face_parts.paste(face_parts.crop(parts, boxes, 8), boxes, 16, "unit").sum().backward()
    assert images.grad is not None and images.grad.abs().sum() > 0
    assert masks.grad is not None and (masks.grad.abs().sum((2, 3)) > 0).all()


def test_crops_of_whole_pixels_are_cut_and_pasted_exactly() -> None:
    torch.manual_seed(0)
    images, corners = torch.rand(2, 3, 10, 12), torch.tensor([[0, 2], [5, 4]])
    crops = face_parts.cut_at(images, corners, 6, 7)
    assert torch.equal(crops[0], images[0, :, 2:8, 0:7]) and torch.equal(crops[1], images[1, :, 4:10, 5:12])
    canvas = torch.rand(2, 3, 10, 12)
    expected = canvas.clone()
    expected[0, :, 2:8, 0:7], expected[1, :, 4:10, 5:12] = crops[0], crops[1]
    kept = canvas.clone()
    assert torch.equal(face_parts.paste_at(canvas, crops, corners), expected)
    assert torch.equal(canvas, kept), "the canvas itself must stay"


def test_gradients_of_pasted_crops_go_where_their_pixels_came_from() -> None:
    canvas, crops = torch.rand(1, 1, 4, 4, requires_grad=True), torch.rand(1, 1, 2, 2, requires_grad=True)
    pasted = face_parts.paste_at(canvas, crops, torch.tensor([[1, 2]]))
    weights = torch.arange(16.0).view(1, 1, 4, 4)
    (pasted * weights).sum().backward()
    assert canvas.grad is not None and crops.grad is not None
    assert torch.equal(crops.grad, weights[:, :, 2:4, 1:3])
    outside = weights.clone()
    outside[:, :, 2:4, 1:3] = 0
    assert torch.equal(canvas.grad, outside)
