from mimik.labels import (
    CELEBA_ATTRIBUTES,
    MIRRORED_CLASSES,
    SECGAN_ATTRIBUTES,
    SECGAN_CLASSES,
    SECGAN_OF_SEGMENTATION,
    SEGMENTATION_CLASSES,
)


def test_secgans_classes_are_the_merged_nineteen() -> None:
    members: dict[str, set[str]] = {name: set() for name in SECGAN_CLASSES}
    for name, merged in zip(SEGMENTATION_CLASSES, SECGAN_OF_SEGMENTATION, strict=True):
        members[SECGAN_CLASSES[merged]].add(name)
    assert len(SECGAN_CLASSES) == 12 and all(members.values())
    assert members["eyebrows"] == {"l_brow", "r_brow"} and members["eyes"] == {"l_eye", "r_eye"}
    assert members["ears"] == {"l_ear", "r_ear"} and members["earrings"] == {"ear_r"}
    assert members["lips"] == {"u_lip", "l_lip"} and members["mouth"] == {"mouth"}
    assert members["others"] == {"background", "neck_l", "hat", "cloth"}
    # Left and right are one: a flip changes no merged class.
    assert [SECGAN_OF_SEGMENTATION[index] for index in MIRRORED_CLASSES] == list(SECGAN_OF_SEGMENTATION)


def test_celebas_attributes_are_forty_and_secgans_thirteen_of_them() -> None:
    assert len(set(CELEBA_ATTRIBUTES)) == len(CELEBA_ATTRIBUTES) == 40
    assert list(CELEBA_ATTRIBUTES) == sorted(CELEBA_ATTRIBUTES)  # as in the authors' list
    assert len(set(SECGAN_ATTRIBUTES)) == len(SECGAN_ATTRIBUTES) == 13
    assert set(SECGAN_ATTRIBUTES) < set(CELEBA_ATTRIBUTES)
