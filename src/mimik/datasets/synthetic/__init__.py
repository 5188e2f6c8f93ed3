"""synthetic: rendered faces with ground truth for everything, embedded in mimik. Nothing to download.

How many faces at which scale: docs/papers/datasets.md#synthetic.

A face follows from a row of the index: who (`identity_seed`), how seen (`view_seed`, `yaw`, `pitch`, `roll`), and
what it shows (17 action units). Any other expression of the same person in the same view can be rendered, so the
true target of an edit exists. Results on these faces say nothing about photographs.
"""

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
