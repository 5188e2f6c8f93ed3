"""Bootstrap of values that two things share: every rater sees every picture, so both are drawn again, independently.

Owen, The pigeonhole bootstrap, Annals of Applied Statistics 1 (2007), 386-411. Its intervals are somewhat wide, most of
all where neither raters nor pictures differ by more than chance.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def ratio(sums: npt.ArrayLike, counts: npt.ArrayLike) -> float:
    """Mean of all values; NaN without any. Arguments as of `resampled_ratios`."""
    total = float(np.sum(counts))
    return float(np.sum(sums)) / total if total else float("nan")


def resampled_ratios(sums: npt.ArrayLike, counts: npt.ArrayLike, of_rows: Floats, of_columns: Floats) -> Floats:
    """The mean of all values in every resample.

    Args:
        sums: (rows, columns) total of the values that a row (rater) gave to a column (face).
        counts: (rows, columns) how many they are; 0 where there are none.
        of_rows, of_columns: (R, rows) and (R, columns), how often each is drawn; see
            `mimik.statistics.bootstrap.resamples`.

    Returns:
        (R,); NaN where no value was drawn.
    """
    top, bottom = (
        np.einsum("rc,rc->r", of_rows @ np.asarray(values, dtype=np.float64), of_columns) for values in (sums, counts)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(bottom > 0, top / bottom, np.nan))
