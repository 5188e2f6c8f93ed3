"""Accuracy of attribute edits: every attribute of every face is reversed in turn and judged by a classifier.

Sun et al. (SeCGAN), section 4, table 1 and figure 4; docs/papers/secgan.md#measurements. The new value is the reverse
of the annotated one, so an unedited face scores the classifier's error rate (`attribute_accuracy_copy`); only the
reversal `hair_colour` asks for a colour that a face may have. What else an edit asks for, where the method reverses
attributes in another way than alone (`mimik.components.conditions.ConditionConfig.reversal`), counts neither way. A
second metric is how much the edit preserves of the rest according to the classifier. It is measured against the
classifier's prediction for the input instead of the annotation, so that the classifier's own errors do not count
(docs/papers/metrics.md#attribute-accuracy-and-preservation). A third is the classifier's accuracy on real faces, the
reference for the first.
"""

import numpy as np
import numpy.typing as npt
import torch

from mimik.components.conditions import Condition, ConditionConfig, Reversal
from mimik.evaluation.measurements import Array, Entry, Measurements
from mimik.evaluation.places import Extractor, Missing
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
    "Share of {subject} in which the evaluating classifier predicts the value of the target attribute that the edit "
    "asks for, the reverse of the annotated one{but}, mean over the attributes' shares."
)
PRESERVED = (
    "Share of the attributes of the condition that the edit leaves alone for which the evaluating classifier predicts "
    "the same in the translation as in the input, mean over the reversed attributes."
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
    wanted = asked(own, measurements.attributes, measurements.reversal)
    reached, copied = hits(after, wanted), hits(np.broadcast_to(before[:, None], after.shape), wanted)
    but = " (a colour of the hair is asked for whether the face has it or not)"
    but = but if measurements.reversal == "hair_colour" else ""
    every = np.ones(own.shape, dtype=np.bool_)
    entries = {
        f"attribute_accuracy{ending}": measurements.mean_entry(
            right, every, classifier, PROTOCOL.format(subject=subject, but=but), macro=True
        )
        for ending, right, subject in (("", reached, "translations"), ("_copy", copied, "unedited input images"))
    }
    shares = "Share of the edits of each attribute in which the evaluating classifier predicts what is asked for."
    entries["attribute_accuracy_per_attribute"] = _by_attribute(measurements, reached, every, classifier, shares)
    if len(measurements.attributes) > 1:
        left = (wanted == own[:, None]) & ~np.eye(own.shape[1], dtype=np.bool_)
        kept, some = preserved(after, before, left), left.any(-1)
        entries["attribute_preservation"] = measurements.mean_entry(kept, some, classifier, PRESERVED, macro=True)
        shares = "The same for the edits of each attribute: share of the others predicted as unchanged."
        entries["attribute_preservation_per_attribute"] = _by_attribute(measurements, kept, some, classifier, shares)
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


def asked(own: Array, names: tuple[str, ...], reversal: Reversal) -> npt.NDArray[np.bool_]:
    """The attributes that the edits ask for, bool (N, C, C): row t reverses attribute t.

    Args:
        own: bool (N, C), the attributes that the faces have.
        names: of the C attributes.
        reversal: see `mimik.components.conditions.ConditionConfig`.
    """
    condition = Condition(ConditionConfig("attributes", names=names, reversal=reversal), (), names)
    source = torch.from_numpy(own).float()
    every = [condition.reversed_states(source, torch.full((len(own),), column)) for column in range(len(names))]
    states: npt.NDArray[np.bool_] = torch.stack(every, 1).numpy() > 0.5
    return states


def hits(seen: Array, wanted: Array) -> npt.NDArray[np.float64]:
    """1.0 where the target attribute is seen as it is asked for, else 0.0: (N, C).

    Args:
        seen: bool (N, C, C), attributes (last axis) that a classifier sees in the faces with attribute t reversed.
        wanted: bool (N, C, C), see `asked`.
    """
    right: npt.NDArray[np.float64] = np.diagonal(seen == wanted, axis1=1, axis2=2).astype(np.float64)
    return right


def preserved(seen: Array, before: Array, left: Array) -> npt.NDArray[np.float64]:
    """Share of the attributes that an edit leaves alone that are seen as before, (N, C); 0 where it leaves none.

    Args:
        seen: bool (N, C, C), as for `hits`.
        before: bool (N, C), what the classifier sees in the inputs.
        left: bool (N, C, C), the attributes that each edit leaves alone.
    """
    same = ((seen == before[:, None]) & left).sum(-1)
    share: npt.NDArray[np.float64] = same / np.maximum(left.sum(-1), 1)
    return share


def _by_attribute(
    measurements: Measurements, values: Array, counted: Array, classifier: Extractor, protocol: str
) -> Entry:
    means, intervals = {}, {}
    for position, name in enumerate(measurements.attributes):
        column, some = values[:, position, None], counted[:, position, None].astype(np.float64)
        means[name], intervals[name] = bootstrap.mean_interval(column, some, measurements.weights)
    return measurements.entry(means, intervals, int(counted.sum()), classifier, protocol)
