"""Figures of the papers that the pages of a method do not have: one module each.

A module offers `draw(item) -> Drawing | Table | Absent` (`mimik.reporting.papers.items.Item`) and `CAPTION: str`, which
is filled with the drawing's facts. The name of the module is what `draws` of an item in params.yaml says.
"""
