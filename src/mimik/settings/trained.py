"""Trained networks by name: which entry of params.yaml, and which dataset it is trained on.

`NAME` is trained on the dataset that is translated, `DATASET/NAME` on another one. This holds for segmenters and for
what a method `starts_from`. As its segmenter an entry of `methods` may also say `auto`, the scale's, or `auto/NAME`,
another one that is trained on the dataset of the scale's. `masks_from` of a dataset names its segmenter the same way,
always with the dataset.
"""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from mimik.errors import unknown_name

AUTO = "auto"
"""In the place of a segmenter: the scale's own; in the place of its dataset: that of the scale's."""


PRETRAINED: Mapping[str, str] = MappingProxyType({"segmenter": "segmenters", "depth_network": "depth_networks"})
"""Kinds of networks that a method may start from, with the group of params.yaml that holds their entries. An entry of
`methods` names one under the kind; `starts_from` names another entry of `methods`, whose networks it starts from."""


class Trained(NamedTuple):
    """A network or method of params.yaml, and the dataset that it is trained on."""

    dataset: str
    name: str

    def seen_from(self, dataset: str) -> str:
        """How settings of a dataset name it: without the dataset that it is trained on where that is the same."""
        return self.name if self.dataset == dataset else f"{self.dataset}/{self.name}"


def trained(reference: str, dataset: str) -> Trained:
    """What `NAME` or `DATASET/NAME` stands for in settings of a dataset."""
    source, _, name = reference.rpartition("/")
    return Trained(source or dataset, name)


def segmenter(reference: str, dataset: str, default: str, *, own: bool) -> Trained:
    """The segmenter that an entry of `methods` names.

    Args:
        reference: `NAME`, `DATASET/NAME`, `auto` or `auto/NAME`.
        dataset: the one that is translated.
        default: the scale's segmenter, `NAME` or `DATASET/NAME`.
        own: `auto` stands for this dataset, whatever the scale says (`own_segmenter` of the dataset).
    """
    theirs = trained(default, dataset)
    source = dataset if own else theirs.dataset
    if reference == AUTO:
        return Trained(source, theirs.name)
    found = trained(reference, dataset)
    return Trained(source, found.name) if found.dataset == AUTO else found


def reference_faults(params: Mapping[str, Any], place: str, reference: Any, *, auto: bool = False) -> Iterator[str]:
    """What is wrong with `NAME` or `DATASET/NAME`.

    Args:
        params: all settings.
        place: where it stands, for messages.
        reference: what stands there; None is no fault.
        auto: `auto` and `auto/NAME` may stand there, too.
    """
    if reference is None or (auto and reference == AUTO):
        return
    source, slash, name = str(reference).rpartition("/")
    if name not in params["segmenters"]:
        yield f"{place}: {name!r} is not under 'segmenters'. {unknown_name(name, params['segmenters'])}"
    if not slash or (auto and source == AUTO):
        return
    if source not in params["datasets"]:
        yield f"{place}: {source!r} is not under 'datasets'. {unknown_name(source, params['datasets'])}"
    elif "masks" not in params["datasets"][source].get("annotations", ("masks",)):
        yield f"{place}: a segmenter of {source!r} learns from its masks; add `masks` to its `annotations`."


def start_faults(params: Mapping[str, Any], name: str) -> Iterator[str]:
    """What is wrong with what an entry of `methods` starts from."""
    methods, place = params["methods"], f"methods.{name}.starts_from"
    reference = methods[name].get("starts_from")
    if reference is None:
        return
    source, slash, other = str(reference).rpartition("/")
    if slash and source not in params["datasets"]:
        yield f"{place}: {source!r} is not under 'datasets'. {unknown_name(source, params['datasets'])}"
    if other not in methods:
        yield f"{place}: {other!r} is not under 'methods'. {unknown_name(other, methods)}"
        return
    if other == name:
        yield (
            f"{place}: an entry cannot start from itself. To train on, name another entry of the same method that "
            f"starts from {name}; its `training.steps` are the further steps."
        )
        return
    mine, theirs = methods[name]["method"], methods[other]["method"]
    if mine != theirs:
        yield f"{place}: expected another entry of the method {mine!r}; {other!r} is one of {theirs!r}."
    chain = [name]
    while other in methods and other not in chain:
        chain.append(other)
        # An entry is the same on every dataset, so its name alone makes the circle.
        other = str(methods[other].get("starts_from")).rpartition("/")[2]
    if other == name:
        yield f"{place}: {' starts from '.join([*chain, name])}. Take one of these out of the circle."


def mask_faults(params: Mapping[str, Any], name: str) -> Iterator[str]:
    """What is wrong with the segmenter that makes the masks of a dataset, at any of its scales."""
    entry = params["datasets"][name]
    places = {f"datasets.{name}": entry} | {
        f"datasets.{name}.scales.{scale}": {**entry, **overrides}
        for scale, overrides in entry.get("scales", {}).items()
    }
    for place, options in places.items():
        if options.get("masks") != "segmenter":
            continue
        reference = options.get("masks_from")
        if reference is None or "/" not in reference:
            yield f"{place}.masks_from: expected DATASET/NAME for `masks: segmenter`; it is {reference!r}."
            continue
        told = list(reference_faults(params, f"{place}.masks_from", reference))
        yield from told
        other = params["datasets"].get(trained(reference, name).dataset, {})
        if not told and any(own.get("masks") == "segmenter" for own in (other, *other.get("scales", {}).values())):
            yield (
                f"{place}.masks_from: the masks of {trained(reference, name).dataset!r} are themselves made by a "
                "segmenter. Name a dataset that has masks of its own."
            )
