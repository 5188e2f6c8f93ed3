"""Confusion matrices and the scores that are read off them; rows are the truth, columns the prediction.

One implementation for segmentation (pixels) and classification (faces), for training and evaluation. A class
that occurs neither in the truth nor in the prediction has no score: NaN per class, left out of every mean.
"""

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def confusion_matrix(
    predicted: npt.ArrayLike, truth: npt.ArrayLike, classes: int, ignored: int | None = None
) -> Counts:
    """Count how often each true class was predicted as each class.

    Matrices of several batches are added up.

    Args:
        predicted: class indices in [0, classes), any shape.
        truth: class indices of the same shape; positions that hold `ignored` are left out.
        classes: C.
        ignored: value of `truth` that means "not known", or None.

    Returns:
        int64 (C, C); entry [i, j] counts positions of true class i that were predicted as j.

    Raises:
        ValueError: the shapes differ, or an index lies outside of [0, C).
    """
    given, wanted = np.asarray(predicted), np.asarray(truth)
    if given.shape != wanted.shape:
        raise ValueError(f"predicted has shape {given.shape}, truth {wanted.shape}")
    given, wanted = given.ravel(), wanted.ravel()
    if ignored is not None:
        known = wanted != ignored
        given, wanted = given[known], wanted[known]
    for name, values in (("predicted", given), ("truth", wanted)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            raise ValueError(f"{name} holds classes outside of 0 to {classes - 1}")
    pairs = wanted.astype(np.int64) * classes + given.astype(np.int64)
    return np.bincount(pairs, minlength=classes * classes).astype(np.int64).reshape(classes, classes)


def _ratio(numerator: npt.NDArray[np.int64], denominator: npt.NDArray[np.int64]) -> Scores:
    scores = np.full(len(numerator), np.nan)
    np.divide(numerator, denominator, out=scores, where=denominator > 0)
    return scores


def _mean(scores: Scores) -> float:
    known = scores[~np.isnan(scores)]
    return float(known.mean()) if len(known) else float("nan")


def intersection_over_union(confusion: Counts) -> tuple[float, Scores]:
    """Mean IoU over the classes that occur, and TP / (TP + FP + FN) of every class.

    Args:
        confusion: int64 (C, C), see `confusion_matrix`.

    Returns:
        the mean (NaN when nothing was counted) and float64 (C,), NaN for classes that occur nowhere.
    """
    hits = confusion.diagonal()
    per_class = _ratio(hits, confusion.sum(axis=0) + confusion.sum(axis=1) - hits)
    return _mean(per_class), per_class


def accuracy(confusion: Counts) -> float:
    """Share of positions whose class was predicted; NaN when nothing was counted."""
    total = int(confusion.sum())
    return float(confusion.trace()) / total if total else float("nan")


def per_class_accuracy(confusion: Counts) -> Scores:
    """Recall of every class, float64 (C,); NaN for a class without a true sample."""
    return _ratio(confusion.diagonal(), confusion.sum(axis=1))


def macro_f1(confusion: Counts) -> float:
    """Mean over the classes that occur of 2 TP / (2 TP + FP + FN)."""
    hits = confusion.diagonal()
    return _mean(_ratio(2 * hits, confusion.sum(axis=0) + confusion.sum(axis=1)))
