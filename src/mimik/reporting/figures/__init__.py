"""Figures: results in, one drawing out. A figure is one file here and its name under `report: figures` in params.yaml.

Every module offers

- `TITLE: str`, `CAPTION: str`: the caption is filled with the drawing's facts (`CAPTION.format(**facts)`),
- `PAGES: frozenset[str]`: "method" (the page of one result), "comparison" (the page of all results), or both,
- `draw(results, settings) -> Drawing | Absent`: `results` are of one dataset, one scale and one size, at least one;
  what cannot be drawn from them comes back as `Absent` with the reason.
"""
