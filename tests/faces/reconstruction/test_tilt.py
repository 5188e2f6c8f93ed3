"""The lean of the mesh: seen in a turned head with equal halves, weighed against what is expected without it."""

import numpy as np
import pytest

from mimik.faces.action_units.geometric import MIDDLE, PAIRS
from mimik.faces.reconstruction import calibration, tilt
from mimik.faces.reconstruction.tilt import Constants, Evidence, evidence, lean
from mimik.storage.files import read_json

EVEN = Constants(-0.005, 20.0, (-15.0, 15.0))


def head(yaw: float, pitch: float = 0.0, uneven: float = 0.0) -> np.ndarray:
    """(478, 3) a head with two equal halves, up to `uneven` of its size, turned by degrees; y down, z to the viewer."""
    random = np.random.default_rng(3)
    points = random.uniform((-0.35, -0.4, -0.3), (0.35, 0.4, 0.2), (478, 3))
    points[[33, 234, 127]] = [(-0.16, -0.1, 0), (-0.35, 0, -0.3), (-0.35, -0.1, -0.3)]
    points[[10, 2]] = [(0, -0.45, 0.02), (0, 0.1, 0.1)]
    left, right = list(PAIRS), list(PAIRS.values())
    points[right] = points[left] * (-1, 1, 1)
    points[[263, 454, 356]] = points[[33, 234, 127]] * (-1, 1, 1)
    points[list(MIDDLE), 0] = 0
    points += random.normal(0, uneven, points.shape) if uneven else 0
    a, b = np.radians((yaw, pitch))
    turn = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
    nod = np.array([[1, 0, 0], [0, np.cos(b), np.sin(b)], [0, -np.sin(b), np.cos(b)]])
    return points @ (nod @ turn).T + 0.5


def leaning(points: np.ndarray, slope: float) -> np.ndarray:
    """The same points as a network would give them that errs by this lean."""
    return points - np.outer(points[:, 1] * slope, (0, 0, 1))


@pytest.mark.parametrize("yaw", [-25.0, 15.0])
@pytest.mark.parametrize("pitch", [0.0, 8.0])
@pytest.mark.parametrize("slope", [-0.08, 0.0, 0.1])
def test_lean_of_a_turned_head_is_found(yaw: float, pitch: float, slope: float) -> None:
    seen = evidence(leaning(head(yaw, pitch), slope))
    assert seen.slope == pytest.approx(slope, abs=0.006)  # one step of a slightly curved problem
    assert seen.disagreement < 1e-9
    assert EVEN.lean(seen) == pytest.approx(slope, abs=0.006)


def test_a_frontal_head_shows_nothing_and_gets_what_is_expected() -> None:
    seen = evidence(leaning(head(0.0, uneven=0.002), 0.1))
    turned = evidence(leaning(head(25.0, uneven=0.002), 0.1))
    assert seen.information < turned.information / 1000
    for pitch, expected in ((4.0, -0.02), (-4.0, 0.02), (40.0, -0.075), (-40.0, 0.075)):
        frontal = Evidence(seen.slope, 0.0, seen.disagreement, pitch)
        assert EVEN.lean(frontal) == pytest.approx(expected)
    assert EVEN.lean(Evidence(0.0, 0.0, 0.0, 4.0)) == pytest.approx(-0.02)


def test_evidence_counts_less_in_an_uneven_face() -> None:
    even, uneven = (EVEN.lean(evidence(leaning(head(12.0, uneven=size), 0.1))) for size in (0.001, 0.02))
    assert even == pytest.approx(0.1, abs=0.02)
    assert abs(uneven) < abs(even) / 2


def test_lean_is_the_same_for_a_mirrored_face_and_does_not_depend_on_place_and_size() -> None:
    points = leaning(head(10.0, 4.0, uneven=0.004), 0.05)
    mirrored = points * (-1, 1, 1) + (1, 0, 0)
    left, right = [*PAIRS, 127], [*PAIRS.values(), 356]
    mirrored[[*left, *right]] = mirrored[[*right, *left]]
    assert lean(mirrored) == pytest.approx(lean(points), abs=1e-9)
    assert lean(points * 100 - 7) == pytest.approx(lean(points), abs=1e-9)
    with pytest.raises(ValueError, match="not finite"):
        lean(points * np.nan)


def test_stored_constants_say_where_they_come_from_and_help() -> None:
    provenance = read_json(tilt.CONSTANTS)["provenance"]
    assert "face_mesh.py --calibrate-lean" in provenance["command"] and provenance["faces"] > 500
    assert provenance["depth_correlation"] > provenance["depth_correlation_uncorrected"] + 0.01
    low, high = tilt.constants().pitch
    assert tilt.constants().per_degree <= 0 and low < -10 < 10 < high


def test_the_fit_takes_the_constants_that_correlate_best_and_keeps_the_mean_lean_apart() -> None:
    """Meshes that err by -0.03 and -0.004 a degree, and say nothing about it."""
    random = np.random.default_rng(5)
    z, y = random.normal(size=(2, 500))
    pitches = np.linspace(-5, 10, 12)
    leans = -0.03 - 0.004 * pitches
    depths = np.array([np.cov(np.stack([z, y, 2 * (z + lean * y) + 7])) for lean in leans])
    faces = calibration.Leaning([Evidence(0.3, 0.0, 1.0, pitch) for pitch in pitches], depths)
    fitted, of_all = calibration.fit_lean(faces)
    assert fitted.per_degree == -0.004 and fitted.pitch == (-5.0, 10.0) and of_all == -0.03
    assert faces.correlations(-0.03 + faces.leans(fitted)) == pytest.approx(1.0)
    direct = [np.corrcoef(z, z + lean * y)[0, 1] for lean in leans]
    assert faces.correlations(np.zeros(12)) == pytest.approx(direct)


def test_rendered_faces_are_observed_and_leans_correct_their_depth() -> None:
    pytest.importorskip("mediapipe")
    faces = calibration.observe_lean(calibration.expressions("val", 3, 4))
    assert len(faces.seen) == 24 and faces.covariance.shape == (24, 3, 3)
    as_seen = faces.correlations(np.zeros(24)).mean()
    assert 0.8 < as_seen < faces.correlations(faces.leans(tilt.constants())).mean()
