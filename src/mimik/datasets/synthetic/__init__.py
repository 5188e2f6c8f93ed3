"""synthetic: rendered faces with ground truth for everything, embedded in mimik. Nothing to download.

How many faces at which scale: docs/papers/datasets.md#synthetic.

A face follows from a row of the index: who (`identity_seed`), how seen (`view_seed`, `yaw`, `pitch`, `roll`, `light`),
and what it shows (17 action units). Any other expression of the same person in the same view can be rendered, so the
true target of an edit exists. Results on these faces say nothing about photographs.
"""

from collections.abc import Mapping
from typing import Any

from mimik.datasets.synthetic.expressions import MEAN_INTENSITY, prototype, with_action_units, with_expression
from mimik.datasets.synthetic.identity import identity_descriptor
from mimik.datasets.synthetic.rendering import OUTPUTS, Rendering, render
from mimik.datasets.synthetic.sampling import check, fetch, index

LICENCE = "Made by mimik's own renderer; under mimik's licence (MIT). No person is depicted."
RESTRICTED = False
CITATION = "The synthetic faces of mimik. Cite the software (CITATION.cff)."
ACCESS = "Nothing to obtain: the faces are rendered when the dataset is prepared."

__all__ = [
    "ACCESS",
    "CITATION",
    "LICENCE",
    "MEAN_INTENSITY",
    "OPTIONS",
    "OUTPUTS",
    "RESTRICTED",
    "Rendering",
    "check",
    "fetch",
    "identity_descriptor",
    "index",
    "prototype",
    "render",
    "with_action_units",
    "with_expression",
]

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "identities": {
        "description": "{train: N, val: N, test: N}",
        "meaning": "Number of people in each split; faces are people times expressions.",
    },
    "first_test_person": {
        "description": "a whole number from 0",
        "default": 0,
        "meaning": "The test people before this one are left out, because somebody has already looked at them, to "
        "choose settings, say.",
    },
    "views_per_expression": {
        "description": "a whole number above 0",
        "default": 1,
        "meaning": "Number of faces of every person with every expression, each in a different pose and light.",
    },
    "light": {
        "description": "day or evening",
        "default": "day",
        "meaning": "Evening: one warm lamp at the side, a dark room, more noise of the camera, and other people. It "
        "stands for another set of photographs.",
    },
}
"""What an entry of this dataset may set besides the options of every dataset, for docs/options.md."""
