"""Rendered faces under another name."""

from mimik.datasets.synthetic import check, fetch, index, render, with_action_units, with_expression

LICENCE = CITATION = ACCESS = "Nothing to obtain."
RESTRICTED = False

__all__ = ["check", "fetch", "index", "render", "with_action_units", "with_expression"]
