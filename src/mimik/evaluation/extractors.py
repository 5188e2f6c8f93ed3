"""Opens the networks that measure images: classifier, face reader, Inception, ArcFace.

Each is an `Extractor`, or `Missing` with advice on how to get it. A file that exists but does not fit is a `UserError`.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from mimik import mirror as mirrors
from mimik.errors import UserError
from mimik.evaluation.measurements import Extractor, Missing
from mimik.faces.prepared.store import FaceStore
from mimik.networks import arcface, face_classifier, face_reader, inception
from mimik.storage.files import file_sha256


def open_classifier(
    directory: Path | str | None, store: FaceStore, attributes: Sequence[str], device: torch.device
) -> Extractor | Missing:
    """The judge: a classifier of the dataset's classes, or of the attributes that are reversed, if any."""
    if directory is None:
        what = (
            ("attribute classifier", "attribute_classifier") if attributes else ("expression classifier", "classifier")
        )
        return Missing("name an {} for this scale in params.yaml (`{}`).".format(*what))
    network = face_classifier.load(directory).to(device)
    wanted = "attributes" if attributes else "expression"
    if network.predicts != wanted:
        raise UserError(f"{directory}: predicts {network.predicts}, but this method needs a classifier of {wanted}.")
    if attributes and (unknown := set(attributes) - set(network.classes)):
        raise UserError(
            f"{directory}: was not trained on {', '.join(sorted(unknown))}, which the method reverses. Add this to "
            "`names` of the classifier in params.yaml and train it again."
        )
    if not attributes and network.classes != store.classes:
        raise UserError(
            f"{directory}: was trained on the classes {network.classes}, but those of {store.directory} are "
            f"{store.classes}. "
            "Train the classifier again on this dataset."
        )
    chosen = [network.classes.index(name) for name in attributes or network.classes]

    def outputs(images: Tensor) -> dict[str, Tensor]:
        features = network.features(images.to(device))
        return {"features": features, "logits": network.classify(features)[:, chosen]}

    return Extractor(network.name, network.sha256, outputs)


def open_reader(directory: Path | str | None, device: torch.device) -> Extractor | Missing:
    """The network that reads action units and identities from rendered faces."""
    if directory is None:
        return Missing("name a face reader for this scale in params.yaml (`reader`); it needs a rendered dataset.")
    network = face_reader.load(directory).to(device)

    def outputs(images: Tensor) -> dict[str, Tensor]:
        units, identity = network(images.to(device))
        return {"action_units": units, "identity": identity}

    return Extractor(network.name, network.sha256, outputs, network.action_unit_extractor)


def open_inception(folder: Path | str, mirror: Path | str | None, device: torch.device) -> Extractor | Missing:
    """Inception with the weights that define FID, KID and Inception score."""
    path = next((found for name in inception.WEIGHTS if (found := mirrors.find(name, mirror, folder))), None)
    if path is None:
        return Missing(f"put {inception.WEIGHTS[0]} into {folder} or the mirror folder; download: {inception.URL}")
    network = inception.load(path).to(device)

    def outputs(images: Tensor) -> dict[str, Tensor]:
        features = network(images.to(device))
        return {"features": features, "logits": network.classify(features)}

    return Extractor("inception-2015-12-05", file_sha256(path), outputs)


def open_arcface(folder: Path | str, mirror: Path | str | None, device: torch.device) -> Extractor | Missing:
    """ArcFace, which distinguishes people in photographs."""
    path = mirrors.find(arcface.WEIGHTS, mirror, folder)
    if path is None:
        return Missing(
            f"put {arcface.WEIGHTS} (ArcFace IR-SE50 of the GitHub project TreB1eN/InsightFace_Pytorch) into {folder} "
            "or the mirror folder."
        )
    network = arcface.load(path).to(device)
    return Extractor("arcface_ir_se50", file_sha256(path), lambda faces: {"features": network(faces.to(device))})
