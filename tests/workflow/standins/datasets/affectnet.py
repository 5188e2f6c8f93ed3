"""Stand-in of a licensed dataset whose archive is not there."""

from mimik.errors import UserError

RESTRICTED = True


def check(raw, options, mirror):
    raise UserError(f"{raw}: the archive is not here. Ask its authors for it and put it there.")
