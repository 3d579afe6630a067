"""What EC2 takes of a machine's configuration."""

import re

from imgforge.bundle.manifest import MachineConfiguration
from imgforge.errors import BadInputError

ARCHITECTURES = ("i386", "x86_64")
_RULES = {
    "kernel": re.compile(r"aki-[0-9a-z]{1,32}"),
    "ramdisk": re.compile(r"ari-[0-9a-z]{1,32}"),
    "product code": re.compile(r"[A-Za-z0-9]{1,64}"),
    "virtual device": re.compile(r"ami|root|swap|ephemeral[0-9]{1,2}|ebs[A-Za-z0-9]{1,8}"),
    "device": re.compile(r"(?:/dev/)?[a-z][a-z0-9]{1,15}"),
}


def check_machine(machine: MachineConfiguration) -> None:
    """Raise BadInputError for what EC2 would not take of a machine's configuration."""
    if machine.architecture not in ARCHITECTURES:
        raise BadInputError(
            f"Bundle: architecture {machine.architecture!r}; allowed: {', '.join(ARCHITECTURES)}."
        )
    found = [("kernel", machine.kernel_id)] if machine.kernel_id else []
    found += [("ramdisk", machine.ramdisk_id)] if machine.ramdisk_id else []
    found += [("product code", code) for code in machine.product_codes]
    for mapping in machine.mappings:
        found += [("virtual device", mapping.virtual), ("device", mapping.device)]
    for what, text in found:
        if not _RULES[what].fullmatch(text):
            raise BadInputError(f"Bundle: {what} {text!r}; it must be {_RULES[what].pattern}.")
    virtual = [mapping.virtual for mapping in machine.mappings]
    for name in virtual:
        if virtual.count(name) > 1:
            raise BadInputError(f"Bundle: {name} is mapped twice.")
