"""What a bundle in S3 says of its image, as RegisterImage needs it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BundleFacts:
    """A bundle that was read and verified; empty texts are not in its manifest.

    `devices` are (virtual name, device) of its block device mapping, as ("ephemeral0", "sdb").
    """

    architecture: str
    size_bytes: int
    kernel_id: str = ""
    ramdisk_id: str = ""
    devices: tuple[tuple[str, str], ...] = ()
    product_codes: tuple[str, ...] = ()
