"""Accuracy of attribute edits: every attribute of every face is reversed alone and judged by a classifier.

Sun et al. (SeCGAN), section 4, table 1 and figure 4; docs/papers/secgan.md#measurements. The new value is the reverse
of the annotated one, so an unedited face scores the classifier's error rate (`attribute_accuracy_copy`). A second
metric is how much else the edit preserves according to the classifier. It is measured against the classifier's
prediction for the input instead of the annotation, so that the classifier's own errors do not count
(docs/papers/metrics.md#attribute-accuracy-and-preservation). A third is the classifier's accuracy on real faces, the
reference for the first.
"""

import numpy as np
import numpy.typing as npt

from mimik.evaluation.measurements import Array, Entry, Extractor, Measurements, Missing
from mimik.statistics import bootstrap

NAMES = (
    "attribute_accuracy",
    "attribute_accuracy_copy",
    "attribute_accuracy_per_attribute",
    "attribute_preservation",
    "attribute_preservation_per_attribute",
    "attribute_classifier_accuracy",
)
PROTOCOL = (
    "Share of {subject} in which the evaluating classifier predicts the reverse of the annotated value of the target "
    "attribute, mean over the attributes' shares."
)
PRESERVED = (
    "Share of the attributes of the condition that were not reversed for which the evaluating classifier predicts the "
    "same in the translation as in the input, mean over the reversed attributes."
)
HIGHER_IS_BETTER = dict.fromkeys(NAMES, True)
UNIT = dict.fromkeys(NAMES, "%")
FORMAT = dict.fromkeys(NAMES, "{:.1%}")


def compute(measurements: Measurements) -> dict[str, Entry]:
    """The entries of metrics.json; skipped for methods whose targets are expressions."""
    classifier = measurements.classifier
    if not measurements.attributes:
        reason = "it measures reversed attributes, but this method edits expressions."
        return {name: Missing(reason, applies=False).entry for name in NAMES}
    if isinstance(classifier, Missing):
        return dict.fromkeys(NAMES, classifier.entry)
    store = measurements.store
    values = store.attributes()
    assert values is not None  # the method was trained on them
    columns = [store.attribute_names.index(name) for name in measurements.attributes]
    annotated = values[:, columns] > 0.5
    before = measurements.of_sources(classifier)["logits"] > 0
    after = measurements.of_translations(classifier)["logits"] > 0

    own = annotated[measurements.rows]
    reached, copied = hits(after, own), hits(np.broadcast_to(before[:, None], after.shape), own)
    every = np.ones(own.shape, dtype=np.bool_)
    entries = {
        f"attribute_accuracy{ending}": measurements.mean_entry(
            right, every, classifier, PROTOCOL.format(subject=subject), macro=True
        )
        for ending, right, subject in (("", reached, "translations"), ("_copy", copied, "unedited input images"))
    }
    shares = "Share of the edits of each attribute in which the evaluating classifier predicts its reverse."
    entries["attribute_accuracy_per_attribute"] = _by_attribute(measurements, reached, classifier, shares)
    if len(measurements.attributes) > 1:
        kept = preserved(after, before)
        entries["attribute_preservation"] = measurements.mean_entry(kept, every, classifier, PRESERVED, macro=True)
        shares = "The same for the edits of each attribute: share of the others predicted as unchanged."
        entries["attribute_preservation_per_attribute"] = _by_attribute(measurements, kept, classifier, shares)
    else:
        alone = {"skipped": "the condition has only one attribute: there is no other to be kept."}
        entries |= {"attribute_preservation": alone, "attribute_preservation_per_attribute": alone}
    seen = measurements.of_reals(classifier)["logits"] > 0
    right = (seen == annotated[measurements.real_rows]).astype(np.float64)
    settings = measurements.settings
    weights = bootstrap.resamples(len(right), settings.bootstrap, settings.seed)
    value, interval = bootstrap.mean_interval(right, np.ones_like(right), weights)
    entries["attribute_classifier_accuracy"] = measurements.entry(
        value,
        interval,
        len(right),
        classifier,
        "Share of the real test images whose annotated value the evaluating classifier predicts, mean over the "
        "attributes of the method's condition.",
        per_attribute=dict(zip(measurements.attributes, right.mean(0).tolist(), strict=True)),
    )
    return entries


def hits(seen: Array, own: Array) -> npt.NDArray[np.float64]:
    """1.0 where the target attribute is seen reversed, else 0.0: (N, C).

    Args:
        seen: bool (N, C, C), attributes (last axis) that a classifier sees in the faces with attribute t reversed.
        own: bool (N, C), the attributes that the faces have.
    """
    asked = np.diagonal(seen, axis1=1, axis2=2)
    right: npt.NDArray[np.float64] = (asked != own).astype(np.float64)
    return right


def preserved(seen: Array, before: Array) -> npt.NDArray[np.float64]:
    """Share of the attributes other than the reversed one that are seen as before, (N, C); C is at least 2.

    Args:
        seen: bool (N, C, C), as for `hits`.
        before: bool (N, C), what the classifier sees in the inputs.
    """
    same = seen == before[:, None]
    others = same.sum(-1) - np.diagonal(same, axis1=1, axis2=2)
    share: npt.NDArray[np.float64] = others / (seen.shape[-1] - 1)
    return share


def _by_attribute(measurements: Measurements, values: Array, classifier: Extractor, protocol: str) -> Entry:
    means, intervals = {}, {}
    for position, name in enumerate(measurements.attributes):
        column = values[:, position, None]
        means[name], intervals[name] = bootstrap.mean_interval(column, np.ones_like(column), measurements.weights)
    return measurements.entry(means, intervals, values.size, classifier, protocol)
