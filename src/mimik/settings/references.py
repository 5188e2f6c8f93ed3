"""Names in params.yaml that refer to its entries or to modules: whether there are such."""

from collections.abc import Mapping
from typing import Any

from mimik.errors import unknown_name
from mimik.settings import modules
from mimik.settings.external import is_external
from mimik.settings.trained import AUTO, PRETRAINED, mask_faults, reference_faults, start_faults


def unknown_names(params: Mapping[str, Any]) -> list[str]:
    """References to names that no entry defines, each with its place, what it is and what there is."""
    found: list[str] = []

    def refer(place: str, name: Any, group: str) -> None:
        if group == "segmenters":
            found.extend(reference_faults(params, place, name, auto=True))
        elif name is not None and name not in params[group]:
            found.append(f"{place}: {name!r} is not under '{group}'. {unknown_name(name, params[group])}")

    refer("scale", params["scale"], "scales")
    for number, entry in enumerate(params["experiments"]):
        refer(f"experiments.{number}.dataset", entry["dataset"], "datasets")
        refer(f"experiments.{number}.method", entry["method"], "methods")
    for number, name in enumerate(params["systems"]):
        refer(f"systems.{number}", name, "methods")
    for name, dataset in params["datasets"].items():
        module = str(dataset.get("dataset", name))
        if is_external(module):
            found += [f"datasets.{name}.dataset: {told}" for told in (modules.fault("datasets", module),) if told]
        elif module not in modules.names("datasets"):
            found.append(
                f"datasets.{name}: there is no module {module!r} in mimik.datasets. If an entry is not named after its "
                "module, its `dataset` has to name the module."
            )
        refer(f"datasets.{name}.scale", dataset["scale"], "scales")
        for scale in dataset.get("scales", {}):
            refer(f"datasets.{name}.scales", scale, "scales")
        found += mask_faults(params, name)
        for values in (dataset, *dataset.get("scales", {}).values()):
            scorer = (values.get("label_quality") or {}).get("classifier")
            refer(f"datasets.{name}.label_quality.classifier", scorer, "classifiers")
        if name == AUTO:
            found.append(f"datasets.{AUTO}: this name means the dataset of the scale's segmenter. Choose another.")
    for name, method in params["methods"].items():
        found += start_faults(params, name)
        for scale in method.get("scales", {}):
            refer(f"methods.{name}.scales", scale, "scales")
        for kind, group in PRETRAINED.items():
            refer(f"methods.{name}.{kind}", method.get(kind), group)
        for guide in method.get("guidance", {}):
            if is_external(guide):
                found += [f"methods.{name}.guidance: {told}" for told in (modules.fault("guidance", guide),) if told]
            elif guide not in modules.names("guidance"):
                found.append(f"methods.{name}.guidance.{guide}: there is no module {guide!r} in mimik.guidance.")
    refer("dataset", params.get("dataset"), "datasets")
    for name, claim in params.get("claims", {}).items():
        where = f"claims.{name}"
        instead = claim.get("instead", {"datasets": (), "names": {}})
        for dataset in (*claim.get("datasets", ()), *instead["datasets"]):
            refer(where, dataset, "datasets")
        for test in (*claim.get("tests", ()), *claim.get("truth", ())):
            compared = [_listed(test[side]) for side in ("better", "than")]
            for method in (name for side in compared for name in side):
                refer(where, method, "methods")
                refer(where, instead["names"].get(method), "methods")
            if len({len(side) for side in compared}) > 1:
                found.append(f"{where}: expected a method or a pair of methods on both sides, `better` and `than`.")
            for metric in _listed(test["metric"]):
                for known in (metric, instead["names"].get(metric, metric)):
                    if "margin" not in test and known not in params.get("least_differences", {}):
                        found.append(f"{where}: {known!r} is not under 'least_differences', and there is no `margin`.")
    for name, item in params.get("items", {}).items():
        for dataset in item.get("datasets", ()):
            refer(f"items.{name}.datasets", dataset, "datasets")
        for method in (*item.get("methods", ()), *item.get("expressions", ())):
            refer(f"items.{name}", method, "methods")
        if len(item.get("expressions", item.get("methods", ()))) != len(item.get("methods", ())):
            found.append(f"items.{name}.expressions: expected one for each of `methods`.")
    for name, table in params.get("published", {}).items():
        for number, row in enumerate(table["rows"]):
            refer(f"published.{name}.rows.{number}.expressions", row.get("expressions"), "methods")
    files = {method["method"] for method in params["methods"].values()}
    for name, scale in params["scales"].items():
        for kind, predicted in (("classifier", "expression"), ("attribute_classifier", "attributes")):
            refer(f"scales.{name}.{kind}", scale[kind], "classifiers")
            predicts = params["classifiers"].get(scale[kind], {}).get("predicts", "expression")
            if scale[kind] in params["classifiers"] and predicts != predicted:
                found.append(
                    f"scales.{name}.{kind}: expected a classifier that predicts {predicted}; {scale[kind]!r} predicts "
                    f"{predicts}."
                )
        refer(f"scales.{name}.reader", scale["reader"], "readers")
        found += reference_faults(params, f"scales.{name}.segmenter", scale["segmenter"])
        for file in scale.get("equal", {}).get("methods", {}):
            if file not in files:
                found.append(
                    f"scales.{name}.equal.methods.{file}: expected the name of a method's file. "
                    f"{unknown_name(file, files)}"
                )
        for file, overrides in scale.get("methods", {}).items():
            for kind, group in PRETRAINED.items():
                refer(f"scales.{name}.methods.{file}.{kind}", overrides.get(kind), group)
            if file not in files:
                found.append(
                    f"scales.{name}.methods.{file}: overrides are listed under the name of a method's file, which is "
                    f"the `method` of its entries. {unknown_name(file, files)}"
                )
        for group in (*PRETRAINED.values(), "classifiers", "readers"):
            networks = {entry["network"] for entry in params[group].values()}
            found += [
                f"scales.{name}.{group}.{network}: overrides are listed under the `network` of the entries. "
                f"{unknown_name(network, networks)}"
                for network in scale.get(group, {})
                if network not in networks
            ]
    return found


def _listed(names: Any) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
