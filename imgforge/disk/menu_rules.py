"""menu.lst judged by what is known of its disk: pure rules, no reading."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from imgforge.aki import AkiPlace, AkiState, PvGrub, advise
from imgforge.disk.kernel_image import READ_BY_PV_GRUB, Container
from imgforge.disk.kernel_payload import Compression
from imgforge.disk.menu_facts import DiskFacts, EntryFacts, command_line_value
from imgforge.disk.menu_finding import MenuFinding, Weight, World
from imgforge.disk.menu_parser import Menu
from imgforge.disk.menu_place import place_name
from imgforge.disk.menu_rule_table import RULES
from imgforge.disk.volume import TESTED_BY_AWS, Volume, VolumeKind

_XVDA = re.compile(r"/dev/xvda(\d{0,3})")
_HVM_DEVICE = re.compile(r"/dev/(?:xvda\d{0,3}|nvme0n1(?:p\d{1,3})?)")
_MAPPER = re.compile(r"/dev/(?:mapper/\S+|[A-Za-z][\w.-]*/\S+)")
_PLAIN_DEVICE = re.compile(r"/dev/\w+")
_LARGEST_COMMAND_LINE = 2047  # COMMAND_LINE_SIZE of x86 Linux, less its NUL
# Rules that GRUB knows nothing of: an entry that breaks no other is started.
_SEEN_TOO_LATE = {
    world: frozenset(
        {
            "entry-pauses",
            "entry-ends",
            "menu-circle",
            "root-argument-device",
            "root-argument-label",
            "root-argument-uuid",
            *more,
        }
    )
    # A BIOS's GRUB starts what is left of a kernel; PV-GRUB unpacks it before.
    for world, more in ((World.PV, ()), (World.HVM, ("kernel-damaged",)))
}
_CONSOLES = {World.PV: ("hvc0", "xvc0"), World.HVM: ("ttyS0",)}


@dataclass(frozen=True, slots=True)
class Case:
    """A disk to be judged: what reads its menu.lst, and which PV-GRUB, where that is known."""

    facts: DiskFacts
    world: World
    pv_grub: PvGrub | None = None


_EntryRule = Callable[[Case, EntryFacts], Iterator[tuple[str, str]]]


def judge(case: Case) -> Iterator[MenuFinding]:
    """Give what is to be said of a disk and its menu.lst; entries that are not tried weigh less."""
    for rule, found in (*case.facts.problems, *_disk_rules(case), *_menu_rules(case)):
        yield MenuFinding(RULES[rule], RULES[rule].weight, found)
    yield from _lines(case)
    order = case.facts.found.menu.order if case.facts.found else ()
    for entry in case.facts.entries:
        for rule_of_entry in _ENTRY_RULES:
            for rule, found in rule_of_entry(case, entry):
                weight = RULES[rule].weight
                if entry.index not in order and weight is Weight.ERROR:
                    weight = Weight.WARNING
                place = entry.entry.line
                yield MenuFinding(RULES[rule], weight, found, entry.index, place)


def booting_entry(case: Case, findings: tuple[MenuFinding, ...]) -> int | None:
    """Return the first entry in GRUB's order that no error stops; None where nothing boots.

    GRUB goes on to the fallback only where it fails itself: a kernel that it has started, and that
    finds no root, is the end of the boot, and so is a command that waits for a key.
    """
    errors = [finding for finding in findings if finding.weight is Weight.ERROR]
    if case.facts.found is None or any(finding.entry is None for finding in errors):
        return None
    for index in case.facts.found.menu.order:
        broken = {finding.rule.id for finding in errors if finding.entry == index}
        if not broken:
            return index
        if broken <= _SEEN_TOO_LATE[case.world]:
            return None
    return None


def _disk_rules(case: Case) -> Iterator[tuple[str, str]]:
    facts, pv_grub = case.facts, case.pv_grub
    kinds = {volume.kind for volume in facts.volumes}
    is_gpt = any(v.partition and v.partition.scheme == "gpt" for v in facts.volumes)
    if facts.found is None and not facts.problems:
        places = "its place" if pv_grub and not pv_grub.looks_everywhere else "the nine places"
        yield "menu-missing", f"no menu.lst in any of {places}"
        if VolumeKind.LVM in kinds:
            yield "lvm-without-boot", "a physical volume of LVM, and no menu.lst beside it"
    if case.world is World.HVM:
        if not facts.has_boot_code:
            table = "a partition table" if facts.partitions else "no partition table"
            yield "boot-code-missing", f"{table}, and no boot code in the first sector"
        if pv_grub is not None:
            yield "aki-for-hvm", f"{pv_grub.name} given for an hvm disk"
        return
    if facts.misnamed is not None:
        yield "menu-name", facts.misnamed.name
    if pv_grub is None:
        return
    if is_gpt and not pv_grub.knows_gpt:
        yield "gpt-1.03", f"GPT, and PV-GRUB {pv_grub.release}"
    yield from _aki_place(case, pv_grub)
    if advise(pv_grub, region=None).state is AkiState.OUTDATED:
        yield "aki-outdated", f"PV-GRUB {pv_grub.release}"


def _aki_place(case: Case, pv_grub: PvGrub) -> Iterator[tuple[str, str]]:
    found = case.facts.placed
    is_whole = not case.facts.partitions
    is_fitting = (pv_grub.place is AkiPlace.HD0) is is_whole
    if not is_fitting and not pv_grub.looks_everywhere:
        layout = "a file system on the whole disk" if is_whole else "a partitioned disk"
        yield "aki-place", f"{pv_grub.name} for {layout}"
    elif pv_grub.place is AkiPlace.HD00 and is_whole:
        yield "aki-hd00", f"{pv_grub.name} for a file system on the whole disk"
    if found is None or pv_grub.looks_everywhere:
        return
    place = (0 if pv_grub.place is AkiPlace.HD0 else 1, "/boot/grub/menu.lst")
    if (found.number, found.path) != place:
        yield (
            "menu-place-1.03",
            f"{found.name}; PV-GRUB {pv_grub.release} reads {place_name(*place)}",
        )


def _menu_rules(case: Case) -> Iterator[tuple[str, str]]:
    found = case.facts.found
    if found is None:
        return
    placed = case.facts.placed or found
    for other in case.facts.others:
        yield "menu-shadowed", f"{other.name} is not read: {placed.name} comes first"
    menu = found.menu
    if not menu.entries:
        yield "menu-without-entry", f"{found.name} has no entry: GRUB stops at its prompt"
        return
    yield from _order_rules(menu)
    if menu.timeout_s is None:
        said = menu.setting("timeout")
        found_timeout = f"timeout {said.argument}, which is no number" if said else "no timeout"
        yield "timeout-missing", found_timeout
    yield from _terminal_rules(case, menu)


def _order_rules(menu: Menu) -> Iterator[tuple[str, str]]:
    count = len(menu.entries)
    if menu.is_default_saved:
        yield "default-saved", "default saved"
    if menu.default >= count:
        yield "default-range", f"default {menu.default}, and {count} entries"
    for index in menu.fallback:
        if index >= count:
            yield "fallback-range", f"fallback {index}, and {count} entries"
        elif index == menu.default:
            yield "fallback-same", f"fallback {index}, which is the default"
    if not menu.fallback:
        yield "fallback-missing", "no fallback"


def _terminal_rules(case: Case, menu: Menu) -> Iterator[tuple[str, str]]:
    names = {command.name for command in menu.settings}
    if case.world is World.PV:
        if said := sorted(names & {"serial", "terminal"}):
            yield "serial-ignored", " and ".join(said)
        return
    if "hiddenmenu" in names:
        yield "hiddenmenu", "hiddenmenu"
    if not {"serial", "terminal"} <= names:
        yield "serial-missing", "GRUB is silent on the serial port"


def _lines(case: Case) -> Iterator[MenuFinding]:
    for problem in case.facts.found.menu.problems if case.facts.found else ():
        rule = RULES[problem.id]
        yield MenuFinding(
            rule, rule.weight, problem.found, line=problem.line, column=problem.column
        )


def _path_rules(_case: Case, facts: EntryFacts) -> Iterator[tuple[str, str]]:
    yield from facts.problems
    entry = facts.entry
    others = (entry.argument("chainloader"), entry.argument("configfile"))
    is_told = any(rule in {"kernel-unnamed", "entry-ends"} for rule, _ in facts.problems)
    if entry.kernel is None and others == (None, None) and not is_told:
        yield "kernel-unnamed", f"entry {facts.index} ({entry.title}) names no kernel"


def _command_rules(case: Case, facts: EntryFacts) -> Iterator[tuple[str, str]]:
    entry = facts.entry
    said = [command.name for command in entry.commands]
    names = set(said)
    if case.world is World.HVM and "initrd" in said and "kernel" in said[said.index("initrd") :]:
        yield "initrd-before-kernel", "initrd before kernel: error 19"
    if case.world is World.PV and (path := entry.argument("chainloader")) is not None:
        yield "chainloader", f"chainloader {path}"
    found = case.facts.found
    if "lock" in names and found is not None and found.menu.setting("password") is not None:
        yield "entry-waits", "lock stops it: error 32"
    if "pause" in names:
        yield "entry-pauses", "pause"
    if case.world is World.PV and "savedefault" in names:
        yield "savedefault", "savedefault"
    for name in sorted(names & {"default", "fallback", "hiddenmenu", "timeout"}):
        yield "entry-waits", f"{name} within the entry stops it: error 27"


def _place_rules(case: Case, facts: EntryFacts) -> Iterator[tuple[str, str]]:
    if facts.entry.root is None or any(rule == "root-unknown" for rule, _ in facts.problems):
        return
    volume = _volume(case, facts.number)
    if bool(facts.number) is not bool(case.facts.partitions):
        layout = "has partitions" if case.facts.partitions else "is one file system"
        yield "root-layout", f"root {facts.entry.root}, and the disk {layout}"
    elif volume is None:
        yield "root-unknown", f"root {facts.entry.root}: there is no such partition"
    else:
        yield from _file_system_rules(case, volume)


def _file_system_rules(case: Case, volume: Volume) -> Iterator[tuple[str, str]]:
    if case.world is World.PV and volume.kind not in TESTED_BY_AWS:
        yield "file-system-untested", f"{volume.name} is {volume.kind}"
    if volume.unread:
        yield "file-system-features", f"{volume.kind} in {volume.name}: {', '.join(volume.unread)}"


def _kernel_rules(case: Case, facts: EntryFacts) -> Iterator[tuple[str, str]]:
    kernel, path = facts.kernel, facts.entry.kernel
    if kernel is None:
        return
    if kernel.damage:
        yield "kernel-damaged", f"{path}: {kernel.damage}"
    if case.world is World.HVM:
        if kernel.container is not Container.BZIMAGE:
            yield "kernel-container", f"{path} is an {kernel.container}"
        return
    if kernel.compression is Compression.UNKNOWN:
        yield "kernel-compression-unknown", f"{path}: its compression is not recognised"
    elif kernel.compression not in READ_BY_PV_GRUB:
        yield "kernel-compression", f"{path} is compressed by {kernel.compression}"
    if kernel.is_for_xen_pv is False:
        yield "kernel-not-for-xen", f"{path} has no entry for Xen's paravirtual guests"
    elif kernel.is_for_xen_pv is None and not kernel.damage:
        yield "kernel-notes-unread", f"{path}: {kernel.compression}, its notes are not read"
    wanted = case.pv_grub.architecture.bits if case.pv_grub else None
    if wanted and kernel.bits and kernel.bits != wanted:
        yield "kernel-bits", f"{path} has {kernel.bits} bits, the AKI {wanted}"


def _argument_rules(case: Case, facts: EntryFacts) -> Iterator[tuple[str, str]]:
    entry = facts.entry
    if entry.kernel is None:
        return
    consoles = [
        value.partition(",")[0] for value in command_line_value(entry.command_line, "console")
    ]
    if not set(consoles) & set(_CONSOLES[case.world]):
        yield "console-missing", f"console={', '.join(consoles)}" if consoles else "no console="
    if len(entry.command_line.encode()) > _LARGEST_COMMAND_LINE:
        yield "command-line-long", f"{len(entry.command_line.encode())} bytes"
    roots = command_line_value(entry.command_line, "root")
    if not roots:
        yield "root-argument-missing", "no root="
        return
    yield from _root_argument(case, roots[-1].strip("\"'"))


def _root_argument(case: Case, root: str) -> Iterator[tuple[str, str]]:
    kind, _, value = root.partition("=")
    volumes = case.facts.volumes
    labels = [volume.label for volume in volumes if volume.label]
    identities = [volume.identity for volume in volumes if volume.identity is not None]
    is_told = not any(_hides_a_root(volume) for volume in volumes)
    if kind == "LABEL":
        if value not in labels and is_told:
            shown = ", ".join(repr(label) for label in labels) or "none"
            yield "root-argument-label", f"root={root}; the disk's labels are {shown}"
    elif kind == "UUID":
        if value.lower() not in identities and is_told:
            yield (
                "root-argument-uuid",
                f"root={root}; the disk has {', '.join(identities) or 'none'}",
            )
    elif kind == "PARTUUID":
        if not case.facts.partitions:
            yield "root-argument-device", f"root={root}, and the disk has no partitions"
    elif _PLAIN_DEVICE.fullmatch(root):
        yield from _root_device(case, root)
    elif _MAPPER.fullmatch(root):
        yield "root-argument-lvm", f"root={root}"
    else:
        yield "root-argument-fragile", f"root={root}"


def _hides_a_root(volume: Volume) -> bool:
    """Tell whether a volume may hold a file system whose label and UUID are not read here."""
    return volume.label is None and volume.kind not in {VolumeKind.SWAP, VolumeKind.UNKNOWN}


def _root_device(case: Case, root: str) -> Iterator[tuple[str, str]]:
    if case.world is World.HVM:
        identity = (
            "root-argument-fragile" if _HVM_DEVICE.fullmatch(root) else "root-argument-device"
        )
        yield identity, f"root={root}"
        return
    match = _XVDA.fullmatch(root)
    numbers = {volume.number for volume in case.facts.partitions} or {1}
    if match is None or not match[1] or int(match[1]) not in numbers:
        yield (
            "root-argument-device",
            f"root={root}; a paravirtual guest has /dev/xvda{min(numbers)}",
        )


def _volume(case: Case, number: int) -> Volume | None:
    return next((volume for volume in case.facts.volumes if volume.number == number), None)


_ENTRY_RULES: tuple[_EntryRule, ...] = (
    _path_rules,
    _command_rules,
    _place_rules,
    _kernel_rules,
    _argument_rules,
)
