"""Stand-in: the other stand-ins declare no settings that could be checked."""


def check_settings(params: object, source: object = "params.yaml") -> None:
    """Check nothing."""
