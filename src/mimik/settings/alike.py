"""When trainings of one method are averaged."""

ALIKE = (
    *("module", "config", "condition", "guidance", "training", "image_size", "freeze", "label_quality"),
    *("pretrained_sha256", "imported"),
)
"""Keys of config.json in which trainings of one method must agree to be averaged."""
