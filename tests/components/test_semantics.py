import torch

from mimik.components.semantics import Parser, compose_masks, cross_entropy, merge, one_hot
from mimik.labels import SECGAN_CLASSES, SECGAN_OF_SEGMENTATION, SEGMENTATION_CLASSES


def test_merging_sums_the_probabilities_of_a_class() -> None:
    logits = torch.randn(2, 19, 3, 3, dtype=torch.float64)
    merged = merge(logits.log_softmax(1)).exp()
    torch.testing.assert_close(merged.sum(1), torch.ones_like(merged[:, 0]))
    probabilities = logits.softmax(1)
    eyes = [SEGMENTATION_CLASSES.index(name) for name in ("l_eye", "r_eye")]
    torch.testing.assert_close(merged[:, SECGAN_CLASSES.index("eyes")], probabilities[:, eyes].sum(1))
    nose = merged[:, SECGAN_CLASSES.index("nose")]
    torch.testing.assert_close(nose, probabilities[:, SEGMENTATION_CLASSES.index("nose")])
    assert len(SECGAN_OF_SEGMENTATION) == 19


def test_merged_classes_can_win_although_no_single_one_does() -> None:
    logits = torch.full((1, 19, 1, 1), -20.0)
    for name, value in (("l_brow", 0.4), ("r_brow", 0.4), ("skin", 0.6)):
        logits[0, SEGMENTATION_CLASSES.index(name)] = value
    mask = one_hot(merge(logits.log_softmax(1)))
    assert mask[0, SECGAN_CLASSES.index("eyebrows"), 0, 0] == 1 and mask.sum() == 1


def test_cross_entropy_by_hand() -> None:
    """One image of two pixels: -log 0.5 and -log 0.25, averaged."""
    target = one_hot(torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]]))
    given = torch.tensor([[[[0.5, 0.75]], [[0.5, 0.25]]]]).log()
    torch.testing.assert_close(cross_entropy(target, given), torch.tensor(3 * 0.6931471806 / 2))


def test_composed_masks() -> None:
    masks, out = one_hot(torch.randn(2, 4, 3, 3)), torch.randn(2, 5, 3, 3)
    painted = out[:, :4].softmax(1)
    torch.testing.assert_close(compose_masks(masks, out[:, :4]).exp(), painted)
    share = out[:, 4:].sigmoid()
    torch.testing.assert_close(compose_masks(masks, out).exp(), masks + share * (painted - masks))


def test_composed_masks_have_gradients_where_the_input_has_probability_zero() -> None:
    masks = one_hot(torch.randn(1, 4, 2, 2))
    out = torch.randn(1, 5, 2, 2, requires_grad=True)
    other = masks.roll(1, 1)
    cross_entropy(other, compose_masks(masks, out)).backward()
    assert out.grad is not None and torch.isfinite(out.grad).all() and (out.grad[:, 4] < 0).all()


def test_a_frozen_parser_lets_gradients_through() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 19, 1), torch.nn.BatchNorm2d(19))
    parser = Parser(network).train()
    images = torch.rand(2, 3, 4, 4, requires_grad=True)
    parser(images)[:, 0].sum().backward()
    assert images.grad is not None and images.grad.any()
    assert network[0].weight.grad is None and not network[1].training
    masks = parser.masks(images)
    assert not masks.requires_grad and masks.shape == (2, 12, 4, 4) and (masks.sum(1) == 1).all()


def test_stored_weights_come_back_and_leave_the_rest() -> None:
    one, other = (Parser(torch.nn.Conv2d(3, 19, 1)) for _ in range(2))
    rest = other.load_stored({**one.stored(), "encoder.weight": torch.ones(1)})
    assert list(rest) == ["encoder.weight"]
    images = torch.rand(1, 3, 2, 2)
    assert torch.equal(one(images), other(images))


def test_a_parser_gives_log_probabilities_of_every_pixel_in_float32() -> None:
    torch.manual_seed(0)
    network = torch.nn.Conv2d(3, 19, 1)
    parser, images = Parser(network), torch.rand(3, 3, 4, 5)
    wide = torch.zeros(12, 19)
    wide[list(SECGAN_OF_SEGMENTATION), range(19)] = 1
    expected = torch.einsum("kc,bchw->bkhw", wide, network(images).softmax(1))
    torch.testing.assert_close(parser(images).exp(), expected)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert parser(images).dtype == torch.float32
    masks = parser.masks(images)
    assert torch.equal(masks.argmax(1), expected.argmax(1)) and torch.equal(masks.sum(1), torch.ones(3, 4, 5))
    assert one_hot(expected.double()).dtype == one_hot(expected.bfloat16()).dtype == torch.float32
    assert set(parser.stored()) == {"parser.weight", "parser.bias"}
    assert parser.train() is parser and parser.training and not network.training
