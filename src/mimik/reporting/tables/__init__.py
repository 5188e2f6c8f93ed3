"""Tables: results in, one table out. A table is one file here and its name under `report: tables` in params.yaml.

Every module offers

- `TITLE: str`, `CAPTION: str`,
- `PAGES: frozenset[str]`: "method" (the page of one result), "comparison" (the page of all results), or both,
- `build(results, settings) -> Table | Absent`: `results` are of one dataset, one scale and one size, at least one.
"""
