import pytest
import torch
import torch.nn.functional as F

from mimik.components import face_parts
from mimik.labels import PARTS, SEGMENTATION_CLASSES

ALL = tuple(PARTS)


def test_parts_are_disjoint_and_hold_their_classes() -> None:
    labels = torch.arange(19).view(1, 1, 19)
    hard = face_parts.hard_part_masks(labels, ALL)
    assert hard.sum(1).max() == 1
    for index, part in enumerate(ALL):
        assert {SEGMENTATION_CLASSES[i] for i in hard[0, index, 0].nonzero()[:, 0].tolist()} == set(PARTS[part])
    logits = torch.randn(2, 19, 4, 6)
    probabilities = torch.softmax(3 * logits, 1)
    soft = face_parts.part_masks(logits, 3.0, ALL)
    for index, part in enumerate(ALL):
        expected = probabilities[:, [SEGMENTATION_CLASSES.index(name) for name in PARTS[part]]].sum(1)
        torch.testing.assert_close(soft[:, index], expected)
    last = logits.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(face_parts.part_masks(last, 3.0, ALL), soft)


def test_tight_boxes() -> None:
    masks = torch.zeros(1, 2, 8, 10, dtype=torch.bool)
    masks[0, 0, 2:5, 3:7] = True
    masks[0, 1, 7, 9] = True
    assert face_parts.tight_boxes(masks).tolist() == [[[3, 2, 7, 5], [9, 7, 10, 8]]]


def ellipse(size: int, left: int, top: int, width: int, height: int) -> torch.Tensor:
    """bool (size, size), with this tight box."""
    x, y = torch.arange(size) + 0.5, torch.arange(size)[:, None] + 0.5
    across, down = (x - left - width / 2) / (width / 2), (y - top - height / 2) / (height / 2)
    return across**2 + down**2 <= 1


@pytest.mark.parametrize("speck", [(3, 3, 1, 1), (250, 110, 1, 2), (140, 250, 3, 1), (20, 240, 4, 4)])
def test_a_speck_does_not_stretch_the_box_of_a_part(speck: tuple[int, int, int, int]) -> None:
    """Wherever it lies: beside the part, above it, or neither."""
    x, y, width, height = speck
    clean = ellipse(256, 120, 100, 56, 20)
    stained = clean.clone()
    stained[y : y + height, x : x + width] = True
    masks = torch.stack([clean, stained])[:, None]
    before, after = (face_parts.tight_boxes(m)[:, 0] for m in (masks, face_parts.without_specks(masks, 0.05)))
    assert not torch.equal(before[0], before[1])
    assert torch.equal(after[0], before[0]) and torch.equal(after[1], before[0])
    assert torch.equal(face_parts.without_specks(masks, 0.0), masks)


def test_pieces_of_some_size_stay_in_the_box() -> None:
    """An eye under its brow, closed to a line, and a mouth of which a strand of hair hides the middle."""
    eye = ellipse(256, 60, 60, 60, 12) | ellipse(256, 70, 84, 36, 3)
    mouth = ellipse(256, 100, 180, 60, 24)
    mouth[:, 126:132] = False
    masks = torch.stack([eye, mouth])[None]
    assert torch.equal(face_parts.without_specks(masks, 0.05), masks)


def test_the_largest_piece_stays_however_small_it_is() -> None:
    """Nothing but specks, the third the largest; a part that is not there stays empty."""
    masks = torch.zeros(1, 2, 32, 32, dtype=torch.bool)
    masks[0, 0, [2, 10, 20, 30], [4, 12, 20, 28]] = True
    masks[0, 0, 20, 21] = True
    kept = face_parts.without_specks(masks, 0.5)
    assert kept[0, 0].nonzero().tolist() == [[20, 20], [20, 21]]
    assert not kept[0, 1].any()


def test_boxes_grow_and_stay_inside() -> None:
    boxes = torch.tensor([[[3.0, 2.0, 7.0, 5.0], [30.0, 30.0, 32.0, 32.0]]])
    grown = face_parts.grow_boxes(boxes, margin=1, least=6, size=32)
    assert grown[0, 0].tolist() == [2, 0.5, 8, 6.5]
    assert grown[0, 1].tolist() == [26, 26, 32, 32]


SPACES = pytest.mark.parametrize(("space", "background"), [("unit", -1.0), ("signed", 0.0)])


@SPACES
def test_masked_out_pixels_are_background(space: face_parts.MaskSpace, background: float) -> None:
    images = torch.rand(2, 3, 4, 4) * 2 - 1
    masks = torch.zeros(2, 2, 4, 4)
    masks[:, 0] = 1
    whole = torch.tensor([0.0, 0.0, 4.0, 4.0]).expand(2, 2, 4)
    parts = face_parts.cut(images, masks, whole, 4, space)
    torch.testing.assert_close(parts[:, 0], images)
    assert (parts[:, 1] == background).all()


def random_boxes(size: int) -> torch.Tensor:
    """(2, 4, 4): inside the image, some at its border, of any place and extent, larger and smaller than a crop."""
    generator = torch.Generator().manual_seed(1)
    low = torch.rand(2, 4, 2, generator=generator) * size * 0.6
    boxes = torch.cat([low, low + size * (0.1 + 0.3 * torch.rand(2, 4, 2, generator=generator))], 2)
    boxes[0, 0], boxes[1, 1] = torch.tensor([0, 0, size * 0.5, size * 0.2]), torch.tensor([size * 0.3, 0, size, size])
    boxes[1, 2] = torch.tensor([size * 0.8, size * 0.75, size, size])
    return boxes


@SPACES
def test_cut_samples_bilinearly_like_torch(space: face_parts.MaskSpace, background: float) -> None:
    size, side = 32, 12
    images, masks, boxes = torch.rand(2, 3, size, size) * 2 - 1, torch.rand(2, 4, size, size), random_boxes(size)
    crops = face_parts.cut(images, masks, boxes, side, space)
    for sample in range(2):
        for part in range(4):
            left, top, right, bottom = (boxes[sample, part] * 2 / size - 1).tolist()
            theta = torch.tensor(
                [[[(right - left) / 2, 0, (right + left) / 2], [0, (bottom - top) / 2, (bottom + top) / 2]]]
            )
            grid = F.affine_grid(theta, [1, 3, side, side], align_corners=False)
            masked = (images[sample] - background) * masks[sample, part] + background
            expected = F.grid_sample(masked[None], grid, padding_mode="border", align_corners=False)[0]
            torch.testing.assert_close(crops[sample, part], expected, rtol=1e-4, atol=1e-5)


@SPACES
def test_stitch_samples_bilinearly_like_torch(space: face_parts.MaskSpace, background: float) -> None:
    size, side = 32, 12
    parts, boxes = torch.rand(2, 4, 3, side, side) * 2 - 1, random_boxes(size)
    valid = torch.tensor([[1.0, 1, 0, 1], [1, 1, 1, 1]])
    placed = torch.full((2, 4, 3, size, size), background)
    for sample, part in valid.nonzero().tolist():
        left, top, right, bottom = (boxes[sample, part] * 2 / size - 1).tolist()
        across, down = 2 / (right - left), 2 / (bottom - top)
        theta = torch.tensor([[[across, 0, -(right + left) / 2 * across], [0, down, -(bottom + top) / 2 * down]]])
        grid = F.affine_grid(theta, [1, 3, size, size], align_corners=False)
        above = F.grid_sample(parts[sample, part, None] - background, grid, align_corners=False)[0]
        placed[sample, part] = above + background
    for how, expected in (
        ("max", placed.amax(1)),
        ("sum", ((placed - background).sum(1) + background).clamp(-1, 1)),
    ):
        stitched = face_parts.stitch(parts, valid, boxes, size, how, space)
        torch.testing.assert_close(stitched, expected, rtol=1e-4, atol=1e-5)


def test_stitch_undoes_cut() -> None:
    ramp = torch.linspace(-0.9, 0.9, 32)
    image = (ramp[None, :] * 0.6 + ramp[:, None] * 0.4).expand(1, 3, 32, 32)
    box = torch.tensor([[[8.0, 4.0, 24.0, 20.0]]])
    crop = face_parts.cut(image, torch.ones(1, 1, 32, 32), box, 16, "unit")
    torch.testing.assert_close(crop[0, 0], image[0, :, 4:20, 8:24])
    placed = face_parts.stitch(crop, torch.ones(1, 1), box, 32, "max", "unit")
    torch.testing.assert_close(placed[0, :, 5:19, 9:23], image[0, :, 5:19, 9:23])
    outside = torch.ones(32, 32, dtype=torch.bool)
    outside[3:21, 7:25] = False
    assert (placed[0][:, outside] == -1).all()
    missing = face_parts.stitch(crop, torch.zeros(1, 1), box, 32, "max", "unit")
    assert (missing == -1).all()


def test_where_parts_overlap() -> None:
    values = torch.tensor([-1.0, 0.5, -0.5, 0.75])
    parts = values.view(1, 4, 1, 1, 1).expand(1, 4, 3, 2, 2)
    boxes, valid = torch.tensor([0.0, 0.0, 2.0, 2.0]).expand(1, 4, 4), torch.ones(1, 4)

    def stitched(which: list[int], how: face_parts.Combination, space: face_parts.MaskSpace) -> list[float]:
        whole = face_parts.stitch(parts[:, which], valid[:, which], boxes[:, which], 2, how, space)
        return [float(value) for value in whole.unique()]

    assert stitched([0, 1, 2, 3], "max", "unit") == [0.75]
    assert stitched([0, 1], "sum", "unit") == [0.5]
    assert stitched([0, 1, 2, 3], "sum", "unit") == [1.0]
    assert stitched([1, 2], "sum", "signed") == [0.0]


def test_gradient_flows_to_image_and_mask_through_cut_and_stitch() -> None:
    images = torch.rand(1, 3, 16, 16).requires_grad_(True)
    masks = torch.rand(1, 4, 16, 16).requires_grad_(True)
    boxes = torch.tensor([[[2.0, 2.0, 10.0, 10.0]] * 4])
    crops = face_parts.cut(images, masks, boxes, 8, "unit")
    face_parts.stitch(crops, torch.ones(1, 4), boxes, 16, "sum", "unit").sum().backward()
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


@pytest.mark.parametrize("which", [(0, 1, 2, 3), (3, 1)])
def test_boxes_of_a_batch_of_several_parts(which: tuple[int, ...]) -> None:
    """Every face and part on its own, on images that are not square."""
    torch.manual_seed(0)
    masks = torch.rand(3, len(which), 9, 14) > 0.9
    masks[:, :, 4, 6] = True
    boxes = face_parts.tight_boxes(masks)
    for face in range(3):
        for part in range(len(which)):
            rows, columns = masks[face, part].nonzero().unbind(1)
            expected = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert boxes[face, part].tolist() == [float(value) for value in expected]
    corner = torch.zeros(1, 2, 9, 14, dtype=torch.bool)
    corner[0, 0, 0, 0] = corner[0, 1, 8, 13] = True
    assert face_parts.tight_boxes(corner)[0].tolist() == [[0, 0, 1, 1], [13, 8, 14, 9]]
    labels = torch.randint(19, (3, 9, 14))
    hard = face_parts.hard_part_masks(labels, tuple(ALL[index] for index in which))
    for place, index in enumerate(which):
        names = [SEGMENTATION_CLASSES.index(name) for name in PARTS[ALL[index]]]
        assert torch.equal(hard[:, place], torch.isin(labels, torch.tensor(names)))


def test_grown_boxes_are_moved_into_the_image_from_every_side() -> None:
    boxes = torch.tensor([[[1.0, 20.0, 5.0, 31.0], [28.0, 0.0, 32.0, 3.0], [10.0, 10.0, 12.0, 20.0]]])
    grown = face_parts.grow_boxes(boxes, margin=2, least=10, size=32)
    # Widened to 4 + 4, then 10 around the middle, then moved: from -2 to 0; from 33.. back to 32.
    assert grown[0].tolist() == [[0, 17, 10, 32], [22, 0, 32, 10], [6, 8, 16, 22]]
    assert face_parts.grow_boxes(boxes, margin=2, least=50, size=32)[0, 0].tolist() == [0, 0, 32, 32]
    assert torch.equal(face_parts.grow_boxes(boxes, 0.0, 0.0, 32), boxes)


def test_crops_of_several_sizes_are_cut_and_pasted() -> None:
    torch.manual_seed(0)
    for channels, height, width in ((1, 3, 5), (4, 5, 2)):
        images, corners = torch.rand(3, channels, 8, 11), torch.tensor([[0, 0], [6, 1], [3, 3]])
        crops = face_parts.cut_at(images, corners, height, width)
        expected = images.clone()
        for face, (left, top) in enumerate(corners.tolist()):
            assert torch.equal(crops[face], images[face, :, top : top + height, left : left + width])
            expected[face, :, top : top + height, left : left + width] = crops[face] + 1
        assert torch.equal(face_parts.paste_at(images, crops + 1, corners), expected)
    assert face_parts.paste_at(images.bfloat16(), crops, corners).dtype == torch.bfloat16


def test_backgrounds_and_lower_precision() -> None:
    assert dict(face_parts.BACKGROUND) == {"unit": -1.0, "signed": 0.0}
    images, masks, boxes = torch.rand(2, 3, 32, 32), torch.rand(2, 4, 32, 32), random_boxes(32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = face_parts.cut(images, masks, boxes, 12, "unit")
        back = face_parts.stitch(low, torch.ones(2, 4), boxes, 32, "max", "unit")
        parts = face_parts.part_masks(torch.randn(2, 19, 4, 4).bfloat16(), 3.0, ALL)
    assert low.dtype == back.dtype == parts.dtype == torch.float32
    torch.testing.assert_close(low, face_parts.cut(images, masks, boxes, 12, "unit"))
