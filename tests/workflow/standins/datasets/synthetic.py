"""Stand-in of an embedded dataset: always usable."""


def check(raw, options, mirror):
    pass
