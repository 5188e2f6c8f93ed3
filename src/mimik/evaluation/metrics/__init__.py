"""Metrics: translations in, entries of metrics.json out. A metric is one file here and its name in params.yaml.

Every module offers

- `NAMES: Sequence[str]`: the entries that it produces; `HIGHER_IS_BETTER` (None: neither), `UNIT` and `FORMAT` (for
  `str.format`) give for each name what tables need,
- `NEEDS: str`, only if it needs a published network: `inception`, `arcface` or `dlib` (`mimik plan` says if it is
  missing),
- `PROTOCOL: str`: one sentence on what is measured and on which images,
- `compute(measurements) -> dict[str, Entry]`: an entry for every name, `mimik.evaluation.measurements.Missing(what to
  do).entry` if something that it needs is missing,

and the mathematics as functions of plain arrays.
"""
