"""Stand-in of an embedded dataset: always usable."""

RESTRICTED = False


def check(raw, options, mirror):
    pass
