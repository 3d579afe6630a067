"""169.254.169.254: what it knows, how it answers, what it was asked."""

from imgforge.metadata.instance import Instance
from imgforge.metadata.request import MetadataRequest

__all__ = ["Instance", "MetadataRequest"]
