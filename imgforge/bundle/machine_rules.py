"""What EC2 takes of a machine's configuration."""

import re
from collections.abc import Iterator

from imgforge.bundle.manifest import MachineConfiguration
from imgforge.errors import BadInputError

ARCHITECTURES = ("i386", "x86_64")
_RULES = {
    "kernel": re.compile(r"aki-([0-9a-f]{8}|[0-9a-f]{17})"),
    "ramdisk": re.compile(r"ari-([0-9a-f]{8}|[0-9a-f]{17})"),
    "product code": re.compile(r"[A-Za-z0-9]{1,64}"),
    "virtual device": re.compile(r"ami|root|swap|ephemeral[0-9]{1,2}|ebs[A-Za-z0-9]{1,8}"),
    "device": re.compile(r"(?:/dev/)?[a-z][a-z0-9]{1,15}"),
}
_WORDS = {
    "kernel": "those are aki- and 8 or 17 hexadecimal digits",
    "ramdisk": "those are ari- and 8 or 17 hexadecimal digits",
    "product code": "those have 1 to 64 letters and digits",
    "virtual device": "those are ami, root, swap, ephemeral0 and so on, ebs1 and so on",
    "device": "those are as sdb or /dev/sdb",
}


def check_machine(machine: MachineConfiguration) -> None:
    """Raise BadInputError for what EC2 would not take of a machine's configuration."""
    for problem in machine_problems(machine):
        raise BadInputError(f"Bundle: {problem}.")


def machine_problems(machine: MachineConfiguration) -> Iterator[str]:
    """Yield what EC2 would not take: an architecture, ids, product codes, mappings."""
    if machine.architecture not in ARCHITECTURES:
        yield f"architecture {machine.architecture!r}; allowed: {', '.join(ARCHITECTURES)}"
    found = [("kernel", machine.kernel_id)] if machine.kernel_id else []
    found += [("ramdisk", machine.ramdisk_id)] if machine.ramdisk_id else []
    found += [("product code", code) for code in machine.product_codes]
    for mapping in machine.mappings:
        found += [("virtual device", mapping.virtual), ("device", mapping.device)]
    for what, text in found:
        if not _RULES[what].fullmatch(text):
            yield f"{what} {text!r}; {_WORDS[what]}"
    virtual = [mapping.virtual for mapping in machine.mappings]
    for name in dict.fromkeys(virtual):
        if virtual.count(name) > 1:
            yield f"{name} is mapped twice"
