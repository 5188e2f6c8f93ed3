"""A trained generator as a model that MLflow loads (`loader_module` of its pyfunc flavour): weights, no pickle.

After `mlflow.pyfunc.load_model("models:/hier_seg-synthetic/1")`, with mimik installed:

    edited = model.predict({"image": faces, "source": labels, "target": labels})
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from mimik.evaluation.translation import Translator


class Editor:
    """Edits faces with the generator of one result folder."""

    def __init__(self, folder: Path) -> None:
        """Load `generator.safetensors` with `config.json`. Raises `UserError` if one is missing or damaged."""
        from mimik.training.runs import load_method

        self._folder = folder
        method, self.config = load_method(folder)
        self._method: Translator = cast("Translator", method)

    def predict(
        self, model_input: Mapping[str, npt.NDArray[Any]], params: Mapping[str, Any] | None = None
    ) -> npt.NDArray[np.uint8]:
        """Edit a batch.

        Args:
            model_input: `image` uint8 (B, S, S, 3), faces aligned as in training; `source` and `target` int64 (B,),
                positions in the classes of config.json: the expressions they show and those they should show. A method
                conditioned on action units also accepts `action_units` float (B, 17) in [0, 1] of the faces; without
                them the mean of the class `source` is used. A method conditioned on attributes needs `attributes`
                (B, A) of the faces, 0 or 1 in the order of config.json; `target` is then the position of the attribute
                to reverse among those in its condition.
            params: passed by MLflow; none are supported.

        Returns:
            uint8 (B, S, S, 3).

        Raises:
            UserError: the generator's output is not finite.
        """
        import torch

        from mimik.training.batches import to_tensor, to_uint8
        from mimik.training.runs import finite

        with torch.inference_mode():
            shown, wanted = (
                torch.as_tensor(np.asarray(model_input[key]).reshape(-1), dtype=torch.int64)
                for key in ("source", "target")
            )
            condition = self._method.condition
            measured = model_input.get("attributes" if condition.space == "attributes" else "action_units")
            source = condition.of_faces(shown, None if measured is None else torch.as_tensor(np.asarray(measured)))
            images = to_tensor(np.asarray(model_input["image"], dtype=np.uint8))
            target = condition.asked(source, shown, wanted)
            edits = finite(self._method.translate(images, source, target), self._folder)
            edited: npt.NDArray[np.uint8] = to_uint8(edits)
        return edited


def _load_pyfunc(path: str) -> Editor:
    """Called by MLflow with the folder that `tracking` registered."""
    return Editor(Path(path))
