"""The class tables of the field, each written down once: expressions, action units, facial parts, attributes.

Every other module takes names and orders from here, so that an index means the same thing everywhere.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

EXPRESSIONS: Sequence[str] = (
    "neutral",
    "happiness",
    "sadness",
    "surprise",
    "fear",
    "disgust",
    "anger",
    "contempt",
)
"""The eight expressions in the order of AffectNet's codes 0 to 7."""

ACTION_UNITS: Sequence[str] = (
    "AU01",
    "AU02",
    "AU04",
    "AU05",
    "AU06",
    "AU07",
    "AU09",
    "AU10",
    "AU12",
    "AU14",
    "AU15",
    "AU17",
    "AU20",
    "AU23",
    "AU25",
    "AU26",
    "AU45",
)
"""The 17 action units whose intensity OpenFace 2 estimates. mimik keeps intensities in [0, 1] (OpenFace: 0 to 5)."""

ACTION_UNIT_NAMES: Mapping[str, str] = MappingProxyType(
    {
        "AU01": "inner brow raiser",
        "AU02": "outer brow raiser",
        "AU04": "brow lowerer",
        "AU05": "upper lid raiser",
        "AU06": "cheek raiser",
        "AU07": "lid tightener",
        "AU09": "nose wrinkler",
        "AU10": "upper lip raiser",
        "AU12": "lip corner puller",
        "AU14": "dimpler",
        "AU15": "lip corner depressor",
        "AU17": "chin raiser",
        "AU20": "lip stretcher",
        "AU23": "lip tightener",
        "AU25": "lips part",
        "AU26": "jaw drop",
        "AU45": "blink",
    }
)
"""What the units are called (Ekman, Friesen and Hager, FACS Investigator's Guide, 2002)."""

SEGMENTATION_CLASSES: Sequence[str] = (
    "background",
    "skin",
    "nose",
    "eye_g",
    "l_eye",
    "r_eye",
    "l_brow",
    "r_brow",
    "l_ear",
    "r_ear",
    "mouth",
    "u_lip",
    "l_lip",
    "hair",
    "hat",
    "ear_r",
    "neck_l",
    "neck",
    "cloth",
)
"""CelebAMask-HQ's 19 classes in the order of its official g_mask.py (index 0 is background).

`l_eye` is the eye on the LEFT side of the image (the person's right eye), whatever an annotation calls it;
`eye_g` glasses, `ear_r` earring, `neck_l` necklace, `l_lip` the lower lip, `mouth` the inner mouth.
"""

IGNORED = 255
"""Mask value of pixels whose class is not known; losses and metrics leave them out."""

PARTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "left_eye": ("l_eye", "l_brow"),
        "right_eye": ("r_eye", "r_brow"),
        "nose": ("nose",),
        "mouth": ("mouth", "u_lip", "l_lip"),
    }
)
"""The four disjoint local parts of hier_seg (Bodur et al., section 3.1) as sets of segmentation classes."""

MIRRORED_CLASSES: Sequence[int] = tuple(
    SEGMENTATION_CLASSES.index(
        {
            "l_eye": "r_eye",
            "r_eye": "l_eye",
            "l_brow": "r_brow",
            "r_brow": "l_brow",
            "l_ear": "r_ear",
            "r_ear": "l_ear",
        }.get(name, name)
    )
    for name in SEGMENTATION_CLASSES
)
"""Look-up table from a class to the class that it becomes when the image is flipped left to right."""

PALETTE: Sequence[tuple[int, int, int]] = (
    (24, 26, 32),
    (236, 188, 158),
    (214, 132, 98),
    (110, 118, 132),
    (64, 132, 214),
    (64, 190, 200),
    (112, 84, 58),
    (150, 112, 70),
    (224, 164, 130),
    (206, 146, 120),
    (120, 24, 40),
    (206, 70, 84),
    (236, 110, 116),
    (84, 66, 100),
    (70, 110, 80),
    (236, 206, 90),
    (200, 170, 60),
    (198, 152, 128),
    (96, 140, 110),
)
"""Display colour (RGB, 0 to 255) of each segmentation class."""


SECGAN_CLASSES: Sequence[str] = (
    "skin",
    "eyebrows",
    "eyes",
    "eyeglasses",
    "ears",
    "earrings",
    "nose",
    "mouth",
    "lips",
    "neck",
    "hair",
    "others",
)
"""The 12 classes that SeCGAN merges the 19 into (Sun et al., section 3); left and right are one class."""

_SECGAN_MERGED: Mapping[str, str] = {
    "skin": "skin",
    "l_brow": "eyebrows",
    "r_brow": "eyebrows",
    "l_eye": "eyes",
    "r_eye": "eyes",
    "eye_g": "eyeglasses",
    "l_ear": "ears",
    "r_ear": "ears",
    "ear_r": "earrings",
    "nose": "nose",
    "mouth": "mouth",
    "u_lip": "lips",
    "l_lip": "lips",
    "neck": "neck",
    "hair": "hair",
    "background": "others",
    "neck_l": "others",
    "hat": "others",
    "cloth": "others",
}

SECGAN_OF_SEGMENTATION: Sequence[int] = tuple(
    SECGAN_CLASSES.index(_SECGAN_MERGED[name]) for name in SEGMENTATION_CLASSES
)
"""Look-up table from a segmentation class to its class of `SECGAN_CLASSES`. `IGNORED` stays `IGNORED`."""

CELEBA_ATTRIBUTES: Sequence[str] = (
    "5_o_Clock_Shadow",
    "Arched_Eyebrows",
    "Attractive",
    "Bags_Under_Eyes",
    "Bald",
    "Bangs",
    "Big_Lips",
    "Big_Nose",
    "Black_Hair",
    "Blond_Hair",
    "Blurry",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Chubby",
    "Double_Chin",
    "Eyeglasses",
    "Goatee",
    "Gray_Hair",
    "Heavy_Makeup",
    "High_Cheekbones",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "Narrow_Eyes",
    "No_Beard",
    "Oval_Face",
    "Pale_Skin",
    "Pointy_Nose",
    "Receding_Hairline",
    "Rosy_Cheeks",
    "Sideburns",
    "Smiling",
    "Straight_Hair",
    "Wavy_Hair",
    "Wearing_Earrings",
    "Wearing_Hat",
    "Wearing_Lipstick",
    "Wearing_Necklace",
    "Wearing_Necktie",
    "Young",
)
"""CelebA's 40 binary attributes in the order of its list_attr_celeba.txt."""

SECGAN_ATTRIBUTES: Sequence[str] = (
    "Bald",
    "Bangs",
    "Black_Hair",
    "Blond_Hair",
    "Brown_Hair",
    "Bushy_Eyebrows",
    "Eyeglasses",
    "Male",
    "Mouth_Slightly_Open",
    "Mustache",
    "No_Beard",
    "Pale_Skin",
    "Young",
)
"""The 13 attributes that AttGAN and SeCGAN edit. No_Beard is the inverse of what the papers call beard."""


HAIR_COLOURS: Sequence[str] = ("Black_Hair", "Blond_Hair", "Brown_Hair", "Gray_Hair")
"""CelebA's attributes of which a face is given one at most when it is edited."""

EXCLUDED_ATTRIBUTES: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        **{name: tuple(other for other in HAIR_COLOURS if other != name) for name in HAIR_COLOURS},
        "Bald": ("Bangs",),
        "Receding_Hairline": ("Bangs",),
        "Bangs": ("Bald", "Receding_Hairline"),
        "Straight_Hair": ("Wavy_Hair",),
        "Wavy_Hair": ("Straight_Hair",),
        "Mustache": ("No_Beard",),
        "No_Beard": ("Mustache",),
    }
)
"""What a face that is given an attribute cannot have as well, in AttGAN's code (docs/papers/baselines.md#attgan)."""


MIRRORED_LANDMARKS: Sequence[int] = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *range(27, 31),  # ridge of the nose
    *range(35, 30, -1),  # its base
    *(45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40),  # eyes
    *(54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55),  # outer lips
    *(64, 63, 62, 61, 60, 67, 66, 65),  # inner lips
)
"""Of the 68 landmarks of 300-W: which one of a mirrored face is where each stands."""


def class_indices(names: Sequence[str]) -> list[int]:
    """Indices of segmentation classes. Raises `ValueError` for a name that is not one."""
    return [SEGMENTATION_CLASSES.index(name) for name in names]
