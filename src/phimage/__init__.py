"""phimage: the image service of a physical cloud."""

__version__ = "0.1.0"
