"""Stand-in: the other stand-ins declare no settings that could be checked."""


def check_settings(params: object, origins: object = None) -> None:
    """Check nothing."""
