"""mimik: an open workbench for facial-expression and face-attribute editing with conditional GANs."""

__version__ = "0.1.0"
