"""The layers of our own networks as a table, at scale paper. Option: `guide`, whose networks are shown; empty: those of
the method itself."""

import torch
from torch import nn

from mimik.reporting.papers.item import Item
from mimik.reporting.tabular import Cell, Column, Line, Table
from mimik.training.guided import Guided
from mimik.training.untrained import untrained_method

CAPTION = "Layers with weights of the networks that are trained here, in the order in which they are made."

SCALE = "paper"


def draw(item: Item) -> Table:
    """A row for each layer that has weights."""
    dataset, methods = item.wanted
    with torch.device("meta"):  # shapes only: the initial weights of large networks take minutes
        task = untrained_method(item.params, dataset, methods[0], SCALE)
    if isinstance(task, Guided):
        task = task.guides[item.options["guide"]] if item.options["guide"] else task.method
    lines, total = [], 0
    for name, layer in task.named_modules():
        count = sum(weight.numel() for weight in layer.parameters(recurse=False) if weight.requires_grad)
        if not count:
            continue
        total += count
        lines.append(Line(name, [Cell(type(layer).__name__), *_shape(layer), Cell(f"{count:,}", number=count)]))
    lines.append(Line("together", [Cell("")] * 5 + [Cell(f"{total:,}", number=total)], baseline=True))
    columns = [
        Column("kind", "layer", text=True),
        Column("channels", "channels"),
        Column("kernel", "kernel"),
        Column("stride", "stride"),
        Column("padding", "padding"),
        Column("weights", "weights"),
    ]
    size = f"{methods[0]} on {dataset} at scale {SCALE}, with 8 expressions and 13 attributes."
    return Table("network", columns, lines, (size,), dense=True)


def _shape(layer: nn.Module) -> list[Cell]:
    """Channels in and out, kernel, stride, padding; empty where a layer has none."""

    def pair(name: str) -> str:
        value = getattr(layer, name, "")
        return str(value[0]) if isinstance(value, tuple) and value else str(value)

    inside = getattr(layer, "in_channels", getattr(layer, "in_features", None))
    outside = getattr(layer, "out_channels", getattr(layer, "out_features", None))
    channels = f"{inside} to {outside}" if inside is not None else pair("num_features")
    return [Cell(channels), *(Cell(pair(name)) for name in ("kernel_size", "stride", "padding"))]
