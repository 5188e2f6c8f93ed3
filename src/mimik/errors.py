"""The one error that is meant for users, and helpers for its messages."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something outside mimik is wrong: a file, a setting, a disk.

    The message is the whole story for the person at the keyboard: it names the file or setting, what was
    expected there, and what to do about it. Entry points print it without a traceback and exit with status 2;
    every other exception is a defect of mimik and keeps its traceback.
    """


class NotFetchedError(UserError):
    """An open archive is not on this machine yet; preparing the dataset brings it."""


def unknown_name(name: object, known: Iterable[str], listed: int = 20) -> str:
    """The end of a message about an unknown name: the nearest names, or all of them if there are only a few.

    Args:
        name: the requested name.
        known: the valid names.
        listed: the largest number of names that are all listed.
    """
    names = sorted(set(known))
    near = alike(name, names)
    if len(names) <= listed:
        meant = f" Did you mean {near[0]}?" if near and near[0] != name else ""
        return f"Known: {', '.join(names) or 'none'}.{meant}"
    return f"Nearest of {len(names)}: {', '.join(near[:5])}." if near else f"None of the {len(names)} names is similar."


def alike(name: object, known: Iterable[str]) -> list[str]:
    """The names that are similar to one, nearest first."""
    asked, folded = str(name).casefold(), {other.casefold(): other for other in sorted(set(known))}
    found = [folded[other] for other in get_close_matches(asked, folded, 5, 0.55)]
    # What is alike by its beginning comes after what is alike as a whole: happy, happiness.
    return found + [other for key, other in folded.items() if other not in found and key[:4] == asked[:4]]
