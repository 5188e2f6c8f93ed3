"""The face mesh against the truth of rendered faces: action units, depth and normals of people never seen before.

python benchmarks/face_mesh.py               measure the stored map of mesh shape to action units
python benchmarks/face_mesh.py --calibrate   fit that map (mimik.faces.action_units.geometric), store it, measure it
python benchmarks/face_mesh.py --calibrate-lean   the same for the mesh's lean (mimik.faces.reconstruction.tilt)

Two sets of faces: `independent`, where every action unit is drawn by itself, and `expressions`, the test faces of the
dataset synthetic. The map's fit takes training people and independent action units, the lean's training people of
both kinds. Rendering takes most of the time.
"""

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from machine import ROOT, describe, write_table

from mimik import __version__
from mimik.faces.action_units.geometric import COEFFICIENTS
from mimik.faces.mesh.mesher import FaceMesher
from mimik.faces.reconstruction import calibration
from mimik.faces.reconstruction.tilt import CONSTANTS
from mimik.labels import ACTION_UNITS
from mimik.storage.files import write_json

SEED = 0
FIT_PEOPLE, RIDGE = 4000, 1e-4
LEAN_PEOPLE = {"independent": 200, "expressions": 50}
TEST_PEOPLE = {"independent": 200, "expressions": 50}
BARS = {"au_correlation": 0.7, "depth_correlation": 0.9, "normal_error_degrees": 20.0}


def calibrate() -> None:
    """Fit the map and store it."""
    rows = calibration.independent("train", FIT_PEOPLE, SEED)
    measured, found = calibration.observe(rows, progress=True)
    units = rows[list(ACTION_UNITS)].to_numpy()[found]
    fitted = calibration.fit(measured[found], units, RIDGE)
    origin = provenance("--calibrate") | {"people": FIT_PEOPLE, "faces": int(found.sum()), "ridge": RIDGE}
    write_json(COEFFICIENTS, calibration.stored(fitted, origin))


def calibrate_lean() -> None:
    """Find the constants of the lean and store them."""
    rows = [getattr(calibration, kind)("train", people, SEED) for kind, people in LEAN_PEOPLE.items()]
    faces = calibration.observe_lean(pd.concat(rows, ignore_index=True), progress=True)
    found, of_all = calibration.fit_lean(faces)
    lean = faces.leans(found)
    origin = provenance("--calibrate-lean") | {
        "people": LEAN_PEOPLE,
        "faces": len(faces.seen),
        "mean_lean_left_out": of_all,
        "depth_correlation": round(float(faces.correlations(lean).mean()), 4),
        "depth_correlation_uncorrected": round(float(faces.correlations(0 * lean).mean()), 4),
    }
    write_json(CONSTANTS, {"provenance": origin, **asdict(found)})


def provenance(option: str) -> dict[str, Any]:
    """Where stored numbers come from."""
    with FaceMesher() as mesher:
        mesh_version = mesher.version
    return {
        "command": f"python benchmarks/face_mesh.py {option}",
        "mimik": __version__,
        "mesh": mesh_version,
        "pixels": calibration.SIZE,
        "seed": SEED,
    }


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calibrate", action="store_true", help="fit the map of action units anew first")
    parser.add_argument("--calibrate-lean", action="store_true", help="find the constants of the lean anew first")
    parser.add_argument("--output", type=Path, default=ROOT / "benchmarks" / "results")
    arguments = parser.parse_args()
    if arguments.calibrate:
        calibrate()
    if arguments.calibrate_lean:
        calibrate_lean()
    columns: dict[str, dict[str, Any]] = {name: {"action_unit": name} for name in [*ACTION_UNITS, "mean"]}
    facts: dict[str, float] = {}
    for kind, people in TEST_PEOPLE.items():
        rows = getattr(calibration, kind)("test", people, SEED)
        result = calibration.compare(rows, progress=True)
        correlations = calibration.correlation(result.units, result.true_units)
        errors = np.abs(result.units - result.true_units).mean(axis=0)
        constant = np.abs(result.true_units - result.true_units.mean(axis=0)).mean(axis=0)
        measured = {"correlation": correlations, "mae": errors, "mae_of_the_mean": constant}
        for measure, values in measured.items():
            for name, value in zip(columns, [*values, values.mean()], strict=True):
                columns[name][f"{kind}_{measure}"] = round(float(value), 3)
        summary = {
            "faces": result.rendered,
            "found": len(result.units) / result.rendered,
            "au_correlation": correlations.mean(),
            "depth_correlation": result.depth_correlation.mean(),
            "depth_correlation_median": np.median(result.depth_correlation),
            "depth_correlation_5th_percentile": np.percentile(result.depth_correlation, 5),
            "depth_correlation_without_tilt": result.depth_untilted.mean(),
            "pitch_error_degrees": np.abs(result.pitch - result.true_pitch).mean(),
            "normal_error_degrees": result.normal_error.mean(),
            "face_covered": result.covered.mean(),
        }
        facts |= {f"{kind}: {name}": float(value) for name, value in summary.items()}
    facts |= {f"bar: {name}": value for name, value in BARS.items()}
    write_table(arguments.output / "face_mesh", list(columns.values()), facts, describe())


if __name__ == "__main__":
    main()
