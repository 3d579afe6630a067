"""169.254.169.254: what it knows, how it answers, what it was asked."""

from imgforge.metadata.fault import Fault, Faults
from imgforge.metadata.instance import HttpTokens, Instance
from imgforge.metadata.request import MetadataRequest
from imgforge.metadata.service import MetadataService
from imgforge.metadata.tokens import Tokens

__all__ = [
    "Fault",
    "Faults",
    "HttpTokens",
    "Instance",
    "MetadataRequest",
    "MetadataService",
    "Tokens",
]
