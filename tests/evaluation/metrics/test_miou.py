import numpy as np
import pytest
import torch

from mimik.evaluation.metrics import miou
from mimik.evaluation.places import Extractor
from mimik.labels import IGNORED, SEGMENTATION_CLASSES

BACKGROUND, SKIN, NOSE, LIP, MOUTH = (
    SEGMENTATION_CLASSES.index(name) for name in ("background", "skin", "nose", "u_lip", "mouth")
)


def columns(*classes: int) -> np.ndarray:
    """(4, 16, 16) masks of four columns of equal width."""
    return np.broadcast_to(np.repeat(np.array(classes, dtype=np.uint8), 4), (4, 16, 16))


def segmenter(name: str, prediction: np.ndarray) -> Extractor:
    predicted = torch.from_numpy(prediction[0].copy())
    return Extractor("bisenet", name, lambda images: {"classes": predicted.expand(len(images), -1, -1)})


def test_by_hand(measure) -> None:
    truth = columns(BACKGROUND, SKIN, NOSE, NOSE)
    before = segmenter("before", columns(BACKGROUND, BACKGROUND, NOSE, SKIN))
    entries = miou.compute(
        measure(
            arrays={"masks_16": truth},
            segmenter_before=before,
            segmenter_after=segmenter("after", truth),
        )
    )
    # background 1 of 2, skin 0 of 2, nose 1 of 2; the other sixteen classes occur nowhere.
    assert entries["miou_before"]["per_class"] == {"background": 0.5, "skin": 0.0, "nose": 0.5}
    assert entries["miou_before"]["value"] == pytest.approx(1 / 3)
    assert entries["miou_before"]["ci"] == pytest.approx([1 / 3, 1 / 3])
    assert entries["miou_before"]["n"] == 4
    assert entries["miou_after"]["value"] == 1.0
    assert entries["miou_after"]["per_part"] == {"nose": 1.0}
    assert entries["miou_after"]["extractor_sha256"] == "after"
    assert miou.HIGHER_IS_BETTER["miou_after"] is True


def test_a_segmenter_is_measured_on_the_dataset_that_it_comes_from(measure, tmp_path) -> None:
    here, there = columns(SKIN, SKIN, SKIN, SKIN), np.full((4, 24, 24), NOSE, np.uint8)
    other = measure(
        folder="other", images=np.full((4, 24, 24, 3), 9, np.uint8), arrays={"masks_24": there}, segmenter_before=None
    ).store
    seen: list[tuple[int, ...]] = []

    def outputs(images: torch.Tensor) -> dict[str, torch.Tensor]:
        seen.append(tuple(images.shape))
        return {"classes": torch.full((len(images), *images.shape[2:]), NOSE, dtype=torch.uint8)}

    networks = {f"segmenter_{when}": Extractor("bisenet", when, outputs) for when in ("before", "after")}
    own = miou.compute(measure(arrays={"masks_16": here}, **networks))["miou_before"]
    assert (own["value"], own["dataset"], own["dataset_digest"]) == (0.0, "store", "d")
    seen.clear()
    # The translated dataset has no masks at all.
    entries = miou.compute(measure(folder="without", segmented=other, **networks))
    for entry in entries.values():
        assert entry["value"] == 1.0 and entry["n"] == 4
        assert (entry["dataset"], entry["dataset_digest"]) == (other.name, other.digest)
        assert "Test split of store, 24 px, uint8." in entry["protocol"]
    assert {shape[1:] for shape in seen} == {(3, 24, 24)} and sum(shape[0] for shape in seen) == 8


def test_parts_join_their_classes(measure) -> None:
    truth, predicted = columns(LIP, MOUTH, SKIN, SKIN), columns(MOUTH, LIP, SKIN, LIP)
    entries = miou.compute(measure(arrays={"masks_16": truth}, segmenter_before=segmenter("b", predicted)))
    assert entries["miou_before"]["per_class"] == {"skin": 0.5, "mouth": 0.0, "u_lip": 0.0}
    assert entries["miou_before"]["per_part"] == pytest.approx({"mouth": 2 / 3})


def test_unknown_pixels_do_not_count(measure) -> None:
    truth = columns(SKIN, SKIN, IGNORED, IGNORED)
    entries = miou.compute(
        measure(arrays={"masks_16": truth}, segmenter_before=segmenter("b", columns(SKIN, SKIN, NOSE, SKIN)))
    )
    assert entries["miou_before"]["value"] == 1.0


def test_agrees_with_scores_of_one_class_at_a_time() -> None:
    generator = np.random.default_rng(0)
    predicted = generator.integers(0, 19, size=(3, 12, 12)).astype(np.uint8)
    masks = generator.integers(0, 19, size=(6, 12, 12)).astype(np.uint8)
    rows = np.array([1, 3, 4])
    total = miou.per_image_confusion(predicted, masks, rows).sum(0)
    for index in range(19):
        hit = ((predicted == index) & (masks[rows] == index)).sum()
        either = ((predicted == index) | (masks[rows] == index)).sum()
        assert total[index, index] / (total[index].sum() + total[:, index].sum() - total[index, index]) == hit / either
    left = np.isin(masks[rows], [4, 6]), np.isin(predicted, [4, 6])
    assert miou.part_ious(total)[0] == pytest.approx((left[0] & left[1]).sum() / (left[0] | left[1]).sum())


def test_methods_without_segmenter_and_datasets_without_masks_skip(measure) -> None:
    assert miou.compute(measure())["miou_before"] == {"skipped": "put the file there."}


def test_datasets_without_masks_skip(measure) -> None:
    entries = miou.compute(measure(segmenter_before=segmenter("b", columns(0, 0, 0, 0))))
    assert "masks" in entries["miou_before"]["skipped"]
