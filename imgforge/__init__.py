"""EC2's machine-image life on one laptop."""

__version__ = "0.1.0"
