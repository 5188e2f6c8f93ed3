"""The model card of an exported method: README.md of its folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mimik import __version__
from mimik.components.conditions import Condition
from mimik.reporting.measured import Measured
from mimik.reporting.measures import MEASURES, printed
from mimik.settings.modules import named
from mimik.settings.params import Params, dataset_module
from mimik.settings.stages import restricted


@dataclass(frozen=True)
class Terms:
    """What may be done with a trained method.

    Attributes:
        restricted: it may not be passed on.
        reason: why, a sentence; empty where it may be passed on.
        licence: of the faces that it was trained on.
        citation: what to cite for them.
    """

    restricted: bool
    reason: str
    licence: str
    citation: str


def terms_of(config: Mapping[str, Any], params: Params | None) -> Terms:
    """The terms of a trained method; where they are not known, it may not be passed on.

    Args:
        config: config.json of the method, or of its export.
        params: params.yaml of the project that it was trained in, if there is one.
    """
    if known := config.get("exported"):
        return Terms(**{key: known[key] for key in ("restricted", "reason", "licence", "citation")})
    dataset, method = str(config["dataset"]), str(config["method"])
    if params is None or dataset not in params["datasets"] or method not in params["methods"]:
        reason = (
            f"There is no params.yaml here that names {dataset} and {method}, so the licence of the faces is not known."
        )
        return Terms(True, reason, "Not known.", "Not known.")
    module = named("datasets", dataset_module(params, dataset), f"params.yaml: datasets.{dataset}.dataset")
    reason = ""
    if config.get("imported"):
        reason = "The weights were released by others, whose terms hold."
    elif module.RESTRICTED:
        reason = f"The faces of {dataset} may not be passed on, and a model can reproduce faces that it was trained on."
    elif restricted(params, dataset, method):
        reason = "A network that it starts from, or its masks, come from faces that may not be passed on."
    return Terms(bool(reason), reason, str(module.LICENCE), str(module.CITATION))


def card(
    config: Mapping[str, Any],
    condition: Condition,
    terms: Terms,
    metrics: Mapping[str, Any] | None,
    weights: Mapping[str, Any],
    graph: str,
) -> str:
    """The text of the card, Markdown.

    Args:
        config: config.json.
        condition: of the method.
        terms: what may be done with it.
        metrics: metrics.json; None for a method that was not measured.
        weights: `count`, the number of weights, `sha256` of generator.safetensors and, where they are not as trained,
            `precision`: what they were rounded to.
        graph: why there is no model.onnx; empty where there is one.
    """
    name = f"{config['method']} trained on {config['dataset']}"
    parts = [
        f"# {name}\n",
        f"{_purpose(config, condition)} Made with mimik {__version__}.\n",
        *([f"> **Not to be passed on.** {terms.reason} Keep this folder to yourself.\n"] if terms.restricted else []),
        "## The model\n",
        _table(("", ""), _facts(config, condition, weights)),
        "## What it was trained on\n",
        f"{_pictures(config)}\n\n{terms.licence}\n\nCite: {terms.citation}\n",
        "## Figures\n",
        _figures(config, metrics),
        "## Limits\n",
        "\n".join(f"- {limit}" for limit in _limits(config)) + "\n",
        "## Responsible use\n",
        _RESPONSIBLE,
        "## How to load it\n",
        _loading(condition, graph),
    ]
    return "\n".join(parts)


def _purpose(config: Mapping[str, Any], condition: Condition) -> str:
    size, space = config["image_size"], condition.space
    what = {"expression": "the expression", "attributes": "attributes", "action_units": "action units"}[space]
    return f"Changes {what} of aligned faces of {size} x {size} pixels, and of the faces in photographs."


def _facts(config: Mapping[str, Any], condition: Condition, weights: Mapping[str, Any]) -> list[tuple[str, str]]:
    training = config.get("training") or {}
    precision = weights.get("precision")
    length = f"{training['steps']:,} steps of {training['batch_size']} faces" if training.get("steps") else "not known"
    return [
        ("Method", f"{config['method']} (module `{config['module']}` of mimik)"),
        ("Told", f"{condition.space.replace('_', ' ')}, {condition.config.form}: {', '.join(condition.names)}"),
        ("Expressions of the dataset", ", ".join(config["classes"])),
        ("Image size", f"{config['image_size']} px"),
        ("Scale, seed", f"{config['scale']}, {config.get('seed', 'not known')}"),
        ("Training", length),
        ("Weights", f"{weights['count']:,} numbers; SHA-256 of generator.safetensors `{weights['sha256']}`"),
        *([("Precision", f"{precision}. The figures are of the weights before rounding.")] if precision else []),
    ]


def _pictures(config: Mapping[str, Any]) -> str:
    seen = config.get("trained_on")
    if seen is None:
        kind = f"The dataset {config['dataset']}."
    else:
        colour = "grey " if seen["grey"] else ""
        of_whom = "rendered faces that belong to nobody" if seen["rendered"] else "photographs of people"
        kind = f"The dataset {config['dataset']}: {colour}{of_whom}."
    return f"{kind} Digest of the prepared faces: `{config.get('dataset_digest', 'not known')}`."


def _figures(config: Mapping[str, Any], metrics: Mapping[str, Any] | None) -> str:
    """The measures with their intervals, and those of the unedited input beside them."""
    rows, meanings = [], []
    entries = metrics["metrics"] if metrics else {}
    for name, measure in MEASURES.items():
        if (cell := _cell(entries.get(name))) is None:
            continue
        copied = _cell(entries.get(f"{name}_copy", entries.get(f"copy_{name}")))
        heading = f"{measure.group}: {measure.heading}" + (f", {measure.unit}" if measure.unit else "")
        shown = printed(measure, cell)
        unedited = "–" if copied is None else printed(measure, copied).text
        if measure.explanation:
            meanings.append(f"- {measure.heading}: {measure.explanation}.")
        rows.append((heading, shown.text, shown.small or "–", unedited, f"{cell.n:,}" if cell.n else "–"))
    if not rows:
        return "Not measured.\n"
    told = (
        f"Measured on the test split of {config['dataset']}; 95 % bootstrap intervals. metrics.json has every figure "
        "with its protocol and the network that judged.\n"
    )
    table = _table(("Measure", "This model", "95 % interval", "Unedited input", "Pairs"), rows)
    return f"{told}\n{table}\n" + "\n".join(meanings) + "\n"


def _cell(entry: Any) -> Measured | None:
    value = entry.get("value") if isinstance(entry, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    interval = entry.get("ci")
    return Measured(float(value), None if interval is None else (interval[0], interval[1]), "", entry)


def _limits(config: Mapping[str, Any]) -> list[str]:
    seen = config.get("trained_on") or {}
    limits = [
        "It edits single pictures. Frames of a film flicker: nothing makes neighbours agree.",
        f"It sees faces at {config['image_size']} px. What it paints is no finer, whatever the photograph's size.",
        f"It was measured on faces like those of {config['dataset']} alone. How it does on others (from the side, "
        "covered, small, with make-up, of another age or skin colour) is not known; look at every edit.",
        "Expressions are posed categories. An edit shows what annotators call an expression, not a feeling.",
    ]
    if seen.get("rendered"):
        limits.insert(0, "**It was trained on rendered faces only and is no good on photographs.**")
    if seen.get("grey"):
        limits.insert(0, "It was trained on grey pictures: only the brightness of a photograph is edited.")
    return limits


_RESPONSIBLE = (
    "Edit people who agreed to it. Never present an edit as a record of how somebody looked or felt, and do not use "
    "one to deceive, to harass or to pass an identity check. Say that a picture is edited, in it or beside it; "
    "`mimik edit` marks its files as synthetic, the graph does not. Nothing here recognises people or reads feelings, "
    "and it must not be used to judge anybody.\n"
)


def _loading(condition: Condition, graph: str) -> str:
    word = condition.edits[min(1, len(condition.edits) - 1)]
    option = given = ""
    if condition.space == "attributes":
        option, given = " --has none", ", has=()"
    elif condition.space == "expression" and condition.config.form == "relative":
        option, given = f" --from {condition.edits[0]}", f', shown="{condition.edits[0]}"'
    text = (
        "With mimik installed, from any folder (FOLDER is this one):\n\n"
        f"```sh\nmimik edit me.jpg --to {word}{option} --model FOLDER -o edited.png\n```\n\n"
        f'```python\nimport mimik\n\nedited = mimik.load("FOLDER").edit("me.jpg", to="{word}"{given})\n```\n'
    )
    if graph:
        return f"{text}\nThere is no model.onnx: {graph}\n"
    return (
        f"{text}\nWithout mimik, model.onnx runs in onnxruntime: aligned faces float32 (B, 3, S, S) in [-1, 1] and "
        "states (B, K) in, edited faces out; its metadata names the states and their order.\n"
    )


def _table(heading: tuple[str, ...], rows: list[Any]) -> str:
    lines = [heading, ("---",) * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
