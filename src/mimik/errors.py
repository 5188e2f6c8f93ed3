"""The one error that a user is meant to read."""


class UserError(Exception):
    """Something outside mimik is wrong: a file, a setting, a disk.

    The message is the whole story for the person at the keyboard: it names the file or setting, what was
    expected there, and what to do about it. Entry points print it without a traceback and exit with status 2;
    every other exception is a defect of mimik and keeps its traceback.
    """


class NotFetchedError(UserError):
    """An open archive is not on this machine yet; preparing the dataset brings it."""
