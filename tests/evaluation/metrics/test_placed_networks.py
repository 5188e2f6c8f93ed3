"""Metrics whose network the user places: FID without aliasing, ssFID, VGG-Face distance, LPIPS."""

import numpy as np
import pytest
import torch
from PIL import Image

from mimik.evaluation.metrics import fid, fid_antialiased, lpips, ssfid, vgg_face
from mimik.evaluation.metrics.fid_antialiased import antialiased
from mimik.evaluation.places import Extractor, Missing, Places

FIXTURE = Extractor("fixture", "ab", lambda images: {"features": images.flatten(1)[:, :: images[0].numel() // 7]})


def test_resizing_is_pillows_bicubic_in_float() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    images = torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1
    for side in (16, 90):
        expected = np.stack(
            [
                np.asarray(Image.fromarray(picture[..., channel].astype(np.float32)).resize((side, side), 3))
                for channel in range(3)
            ]
        ).clip(0, 255)
        found = ((antialiased(images, side)[0] + 1) * 127.5).numpy()
        assert np.abs(found - expected).max() < 1e-3
        assert np.abs(found - found.round()).max() > 0.1  # nothing is rounded in between


def test_small_details_do_not_alias() -> None:
    stripes = torch.ones(1, 3, 64, 64)
    stripes[..., ::2] = -1
    assert antialiased(stripes, 16)[..., 2:-2].abs().max() < 0.1


def test_fid_antialiased_is_another_value_under_another_name(measure) -> None:
    measurements = measure(labels=np.arange(6) % 3, inception=FIXTURE)
    entry = fid_antialiased.compute(measurements)["fid_antialiased"]
    assert entry["extractor"] == "fixture antialiased" and "clean-fid" in entry["protocol"]
    assert entry["n"] == 18 and entry["value"] != fid.compute(measurements)["fid"]["value"]
    skipped = fid_antialiased.compute(measure(folder="second"))
    assert skipped == {"fid_antialiased": {"skipped": "put the file there."}}


def test_ssfid_is_the_mean_over_targets(measure) -> None:
    measurements = measure(labels=np.arange(6) % 3, inception=FIXTURE, swav=FIXTURE)
    entry = ssfid.compute(measurements)["ssfid"]
    assert entry["value"] == pytest.approx(fid.compute(measurements)["fid_per_target"]["value"])
    assert "SwAV" in entry["protocol"] and entry["n_real"] == 6


@pytest.mark.parametrize(
    ("module", "file"),
    [(ssfid, "swav_800ep_pretrain.pth.tar"), (vgg_face, "vgg_face_dag.pth"), (lpips, "alexnet-owt-7be5be79.pth")],
)
def test_without_weights_it_says_what_to_put_where(measure, module, file: str) -> None:
    measurements = measure()
    measurements.published.clear()
    entries = module.compute(measurements)
    assert tuple(entries) == module.NAMES
    assert all(file in entry["skipped"] and "https://" in entry["skipped"] for entry in entries.values())


def test_vgg_face_distance_and_its_histogram(measure) -> None:
    network = Extractor("mean", "ab", lambda images: {"features": images.mean((2, 3)) + 1})
    measurements = measure(vgg_face=network)
    entry = vgg_face.compute(measurements)["vgg_face"]
    sources = measurements.of_sources(network)["features"][:, None].astype(float)
    edits = measurements.of_translations(network)["features"].astype(float)
    cosine = (sources * edits).sum(-1) / np.linalg.norm(sources, axis=-1) / np.linalg.norm(edits, axis=-1)
    distances = np.sqrt(np.maximum(2 - 2 * cosine, 0))[measurements.other]
    assert entry["value"] == pytest.approx(distances.mean(), abs=1e-6)
    assert sum(entry["histogram"]["counts"]) == entry["n"] == measurements.other.sum() == 8
    assert entry["histogram"]["counts"] == np.histogram(distances, entry["histogram"]["edges"])[0].tolist()
    on_rendered = vgg_face.compute(measure(folder="second", truth=True))["vgg_face"]
    assert on_rendered["applies"] is False


def test_a_face_that_no_feature_fires_on_has_a_distance() -> None:
    assert vgg_face.unit_distance(np.zeros((1, 4)), np.eye(4)[:1]).tolist() == [1.0]


def test_lpips_of_the_right_pairs(measure) -> None:
    def between(pairs: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"distance": (pairs[:, 0] - pairs[:, 1]).abs().mean((1, 2, 3))}

    network = Extractor("difference", "ab", between)
    small = lpips.compute(measure(truth=True, lpips=network))
    assert all("at least 35 px" in entry["skipped"] for entry in small.values())
    images = np.random.default_rng(0).integers(0, 256, (4, 40, 40, 3), dtype=np.uint8)
    measurements = measure(truth=True, images=images, folder="second", lpips=network)
    entries = lpips.compute(measurements)
    translations, truth = measurements.translations.astype(float), measurements.truth[slice(None)].astype(float)
    other, labels = measurements.other, measurements.labels
    difference = np.abs(translations - truth).mean((2, 3, 4)) / 127.5
    assert entries["truth_lpips"]["value"] == pytest.approx(difference[other].mean(), abs=1e-6)
    copied = np.abs(images[:, None] - truth).mean((2, 3, 4)) / 127.5
    assert entries["copy_truth_lpips"]["value"] == pytest.approx(copied[other].mean(), abs=1e-6)
    own = np.abs(translations[np.arange(4), labels] - images).mean((1, 2, 3)) / 127.5
    assert entries["lpips"]["value"] == pytest.approx(own.mean(), abs=1e-6)
    reversed_ = measure(images=images, folder="third", attributes=("a", "b", "c"), lpips=network)
    assert lpips.compute(reversed_)["lpips"]["applies"] is False


def test_a_network_is_opened_when_a_metric_asks_for_it_and_once(measure) -> None:
    asked = []

    def opener(places: Places) -> Missing:
        asked.append(places)
        return Missing("put it there.")

    measurements = measure()
    assert not asked
    assert measurements.opened(opener) is measurements.opened(opener)
    assert asked == [measurements.places]
