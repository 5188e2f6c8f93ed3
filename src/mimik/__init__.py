"""mimik: an open workbench for facial-expression and face-attribute editing with conditional GANs.

From Python: `load` a trained method and edit with it, `read_result`, `read_trainings` and their
`difference`, `evaluate` arrays (docs/python.md). A name is
looked up where it stands when it is first used, so that importing mimik loads nothing else.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mimik.editing.files import FileEdit
    from mimik.editing.model import Model, load
    from mimik.errors import UserError
    from mimik.evaluation.arrays import evaluate
    from mimik.reporting.results import Result, read_result
    from mimik.reporting.trainings import difference, read_trainings

__version__ = "0.1.0"

__all__ = [
    "FileEdit",
    "Model",
    "Result",
    "UserError",
    "__version__",
    "difference",
    "evaluate",
    "load",
    "read_result",
    "read_trainings",
]

_HOMES = {
    "FileEdit": "mimik.editing.files",
    "Model": "mimik.editing.model",
    "Result": "mimik.reporting.results",
    "UserError": "mimik.errors",
    "difference": "mimik.reporting.trainings",
    "evaluate": "mimik.evaluation.arrays",
    "load": "mimik.editing.model",
    "read_result": "mimik.reporting.results",
    "read_trainings": "mimik.reporting.trainings",
}


if not TYPE_CHECKING:  # a type checker would take every name for known

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
