"""Opens what measures images: classifier, face reader, geometric action units, Inception, ArcFace, dlib.

Each is an `Extractor`, or `Missing` with advice on how to get it. A file that exists but does not fit is a `UserError`.
"""

from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn

from mimik import mirror as mirrors
from mimik.errors import UserError
from mimik.evaluation.places import Extractor, Missing, Places
from mimik.faces.action_units import geometric
from mimik.faces.mesh.mesher import FaceMesher
from mimik.faces.prepared.store import FaceStore
from mimik.labels import ACTION_UNITS
from mimik.networks import arcface, dlib_face, face_classifier, face_reader, inception, lpips, resnet50, vgg_face
from mimik.networks.normalisation import normalise
from mimik.storage.files import digest, file_sha256
from mimik.training.batches import to_tensor, to_uint8


def open_classifier(
    directory: Path | str, store: FaceStore, attributes: Sequence[str], device: torch.device
) -> Extractor:
    """The judge: a classifier of the dataset's classes, or of the attributes that are reversed, if any."""
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


def open_reader(directory: Path | str, device: torch.device) -> Extractor:
    """The network that reads action units and identities from rendered faces."""
    network = face_reader.load(directory).to(device)

    def outputs(images: Tensor) -> dict[str, Tensor]:
        units, identity = network(images.to(device))
        return {"action_units": units, "identity": identity}

    return Extractor(network.name, network.sha256, outputs, network.action_unit_extractor)


def open_geometric(store: FaceStore) -> Extractor | Missing:
    """Action units from the face mesh of the measured pictures (`mimik.faces.action_units.geometric`).

    For photographs whose own action units are from there: targets and edits are then read by the same rule. A picture
    in which no face is found has NaN.
    """
    told = store.action_unit_extractor or ""
    if told.partition(" ")[0] != geometric.NAME:
        return Missing(f"action units of {store.directory} are not geometric.")
    try:
        mesher = FaceMesher()
    except UserError as error:
        return Missing(str(error))
    name = f"{geometric.NAME} {geometric.version(mesher.version)}"
    if name != told:
        return Missing(
            f"action units of {store.directory} are '{told}', those of pictures would be '{name}' here. Prepare the "
            "dataset again."
        )
    estimator = geometric.estimator()

    def units(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        mesh = mesher(image)
        unknown = np.full(len(ACTION_UNITS), np.nan, np.float32)
        return unknown if mesh is None else estimator(geometric.measures(mesh))

    def outputs(images: Tensor) -> dict[str, Tensor]:
        return {"action_units": torch.from_numpy(np.stack([units(image) for image in to_uint8(images)]))}

    return Extractor(geometric.NAME, file_sha256(geometric.COEFFICIENTS), outputs, told)


def open_inception(places: Places) -> Extractor | Missing:
    """Inception with the weights that define FID, KID and Inception score."""
    path = next((found for name in inception.WEIGHTS if (found := _found(places, name))), None)
    if path is None:
        return Missing(f"put {inception.WEIGHTS[0]} into {_where(places)}; download: {inception.URL}")
    network = inception.load(path).to(places.device)

    def outputs(images: Tensor) -> dict[str, Tensor]:
        features = network(images.to(places.device))
        return {"features": features, "logits": network.classify(features)}

    return Extractor("inception-2015-12-05", file_sha256(path), outputs)


def open_arcface(places: Places) -> Extractor | Missing:
    """ArcFace, which distinguishes people in photographs."""
    return _placed(
        places,
        arcface.WEIGHTS,
        "arcface_ir_se50",
        arcface.load,
        lambda network, faces: network(faces),
        "(ArcFace IR-SE50 of the GitHub project TreB1eN/InsightFace_Pytorch).",
    )


def open_swav(places: Places) -> Extractor | Missing:
    """SwAV's ResNet-50: a network that has learned from pictures without labels."""
    return _placed(
        places,
        resnet50.WEIGHTS,
        "swav_resnet50_800ep",
        resnet50.load,
        lambda network, images: network(normalise(pillow_bilinear(images, resnet50.SIDE), "imagenet")),
        f"(SwAV's ResNet-50, CC BY-NC 4.0; download: {resnet50.URL})",
    )


def open_vgg_face(places: Places) -> Extractor | Missing:
    """VGG-Face, which was trained to name 2,622 people."""
    return _placed(
        places,
        vgg_face.WEIGHTS,
        "vgg_face_fc7",
        vgg_face.load,
        lambda network, images: network(pillow_bilinear(images, vgg_face.SIDE)),
        f"(VGG-Face, for research that is not commercial; download: {vgg_face.URL})",
    )


def open_lpips(places: Places) -> Extractor | Missing:
    """LPIPS: takes pairs of pictures, (B, 2, 3, S, S), and gives their `distance`."""
    alexnet, heads = _found(places, lpips.WEIGHTS), _found(places, lpips.HEADS)
    if alexnet is None or heads is None:
        return Missing(
            f"put {lpips.WEIGHTS} ({lpips.URL}) and {lpips.HEADS} ({lpips.HEADS_URL}) into {_where(places)}."
        )
    network = lpips.load(alexnet, heads).to(places.device)

    def outputs(pairs: Tensor) -> dict[str, Tensor]:
        return {"distance": network(*pairs.to(places.device).unbind(1))}

    return Extractor("lpips_alex_0.1", digest([file_sha256(alexnet), file_sha256(heads)]), outputs)


def _found(places: Places, name: str) -> Path | None:
    return None if places.folder is None else mirrors.find(name, places.mirror, places.folder)


def _where(places: Places) -> str:
    return "the folder `weights`" if places.folder is None else f"{places.folder} or the mirror folder"


def _placed(
    places: Places,
    name: str,
    called: str,
    load: Callable[[Path], nn.Module],
    features: Callable[[nn.Module, Tensor], Tensor],
    advice: str,
) -> Extractor | Missing:
    """A network whose weights the user places, as an extractor of `features`."""
    path = _found(places, name)
    if path is None:
        return Missing(f"put {name} into {_where(places)} {advice}")
    network = load(path).to(places.device)
    return Extractor(
        called, file_sha256(path), lambda images: {"features": features(network, images.to(places.device))}
    )


def pillow_bilinear(images: Tensor, side: int) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1], resized as 8-bit pictures by Pillow's bilinear filter -> (B, 3, side, side).

    What torchvision's Resize does with a picture, on which such networks were trained.
    """
    pictures = [
        np.asarray(Image.fromarray(picture).resize((side, side), Image.Resampling.BILINEAR))
        for picture in to_uint8(images)
    ]
    return to_tensor(np.stack(pictures)).to(images.device)


PACKAGE = "face_recognition_models"
"""Package with dlib's weights, of mimik's extra `judges`. It is not imported: it needs pkg_resources, which newer
setuptools lack."""


def open_dlib(places: Places) -> Extractor | Missing:
    """dlib's face-recognition network, with the weights in a folder, a mirror, or `PACKAGE`."""
    path = _found(places, dlib_face.WEIGHTS)
    if path is None and (package := find_spec(PACKAGE)) is not None:
        inside = [Path(place) / "models" / dlib_face.WEIGHTS for place in package.submodule_search_locations or ()]
        path = next((place for place in inside if place.is_file()), None)
    if path is None:
        return Missing(
            "install dlib's face-recognition weights (public domain, 100 MB): `pip install 'mimik[judges]'`."
        )
    network = dlib_face.load(path).to(places.device)
    return Extractor(
        "dlib_face_recognition_v1", dlib_face.SHA256, lambda faces: {"features": network(faces.to(places.device))}
    )


PUBLISHED: Mapping[str, Callable[[Places], Extractor | Missing]] = {
    "inception": open_inception,
    "arcface": open_arcface,
    "dlib": open_dlib,
    "swav": open_swav,
    "vgg_face": open_vgg_face,
    "lpips": open_lpips,
}
"""Networks that others have published, by what metrics call them (`NEEDS`)."""
