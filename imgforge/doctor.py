"""What this host has and lacks for imgforge, and which way things will be done on it."""

import os
import pwd
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from imgforge import command, host
from imgforge.distribution import Distribution, Family, read_distribution
from imgforge.errors import BadInputError, CommandError, HostError, MissingProgramError
from imgforge.machine import (
    Accelerator,
    AcceleratorWish,
    MetadataWay,
    choose_accelerator,
    choose_way,
    find_proof_kernel,
)
from imgforge.programs import PROGRAMS, Program
from imgforge.progress import report
from imgforge.rootfs import HostOffer, choose_package_mode, probe_host
from imgforge.usage import in_use
from imgforge.xen_appliance import find_appliance

OLDEST_PYTHON = (3, 11)
# guest/recipes/debian.toml: its tree takes 460 MB, each layout's disk as much again. Machines have
# 512 MiB each and run two at a time; half as much again is left to QEMU and the page cache.
LEAST_CACHE_BYTES = 2 * 2**30
LEAST_OUT_BYTES = 2 * 2**30
LEAST_MEMORY_BYTES = 3 * 2**29
_VERSION_LIMIT_S = 10
_ANY_EXIT_CODE = range(-64, 256)


@dataclass(frozen=True, slots=True)
class ProgramState:
    """A program: where it is and which version, or what to install.

    `path` and `version` are empty where it is missing, `version` also where it tells none;
    `packages` names the package in each family.
    """

    name: str
    purpose: str
    required: bool
    path: str
    version: str
    packages: dict[Family, str]

    @property
    def is_missing(self) -> bool:
        """Whether it was not found."""
        return not self.path


@dataclass(frozen=True, slots=True)
class Finding:
    """Something looked at: what was found, and whether imgforge can work with it.

    A `required` finding that is not `good` leaves the host not ready; any other means a lesser or
    slower way. `needed` says what would be good, and is empty where nothing would be better.
    """

    name: str
    good: bool
    required: bool
    found: str
    needed: str = ""


@dataclass(frozen=True, slots=True)
class HostReport:
    """Everything `imgforge doctor` says."""

    distribution: Distribution
    programs: tuple[ProgramState, ...]
    findings: tuple[Finding, ...]
    accelerator: Accelerator | None

    @property
    def missing(self) -> tuple[str, ...]:
        """The names of required programs and findings that are not there."""
        programs = [state.name for state in self.programs if state.required and state.is_missing]
        findings = [finding.name for finding in self.findings if finding.required]
        bad = {finding.name for finding in self.findings if not finding.good}
        return (*programs, *(name for name in findings if name in bad))

    @property
    def ready(self) -> bool:
        """Whether imgforge can do its main job here."""
        return not self.missing

    def install_line(self) -> str:
        """Return the command that installs what is missing, or "" where nothing is."""
        return install_line(self.distribution.family, self.programs)

    def as_json(self) -> dict[str, Any]:
        """Return what `doctor --json` prints."""
        return {
            **asdict(self),
            "ready": self.ready,
            "missing": list(self.missing),
            "install": self.install_line(),
        }


def examine_host(
    wish: AcceleratorWish = AcceleratorWish.AUTO, *, out: Path = Path("out")
) -> HostReport:
    """Look at this host; `out` is where results would go.

    Never raises for what is missing or broken: that is what the report is for. Proving KVM boots
    a kernel the first time; the verdict is kept.
    """
    report("programs")
    programs = tuple(examine_program(program) for program in PROGRAMS.values())
    report("acceleration")
    accelerator, acceleration = _examine_acceleration(wish)
    findings = (
        examine_python(sys.version_info[:3]),
        examine_memory(host.memory().available_bytes),
        examine_space("disk space for the cache", host.cache_dir(), LEAST_CACHE_BYTES),
        examine_space("disk space for results", out.absolute(), LEAST_OUT_BYTES),
        *_examine_packages(),
        _examine_kvm_device(),
        acceleration,
        _examine_way(),
        examine_appliance(),
    )
    return HostReport(read_distribution(), programs, findings, accelerator)


def examine_program(program: Program) -> ProgramState:
    """Find a program and ask it for its version."""
    try:
        path = str(command.find_program(program.name))
    except MissingProgramError:
        path = ""
    packages = {
        Family.DEBIAN: program.debian,
        Family.FEDORA: program.fedora,
        Family.ARCH: program.arch,
    }
    version = _ask_version(program) if path and program.version_arguments else ""
    return ProgramState(
        program.name, program.purpose, program.required, path, version, packages=packages
    )


def _ask_version(program: Program) -> str:
    try:
        # Some tell it on stderr, and some with an exit code of failure.
        answer = command.run(
            program.name,
            program.version_arguments,
            timeout_s=_VERSION_LIMIT_S,
            accepted_exit_codes=_ANY_EXIT_CODE,
        )
    except CommandError:
        return ""
    return first_line(answer.stdout) or first_line(answer.stderr)


def first_line(output: bytes) -> str:
    """Return the first line of `output` that has text, without control characters."""
    for line in output.decode(errors="replace").splitlines():
        if shown := "".join(character for character in line if character.isprintable()).strip():
            return shown
    return ""


def examine_python(version: tuple[int, ...]) -> Finding:
    """Judge the Python that runs this."""
    oldest = ".".join(map(str, OLDEST_PYTHON))
    return Finding(
        name="python",
        good=version >= OLDEST_PYTHON,
        required=True,
        found=".".join(map(str, version)),
        needed=f"{oldest} or newer",
    )


def examine_memory(available_bytes: int) -> Finding:
    """Judge the memory that is free."""
    return _enough("memory", available_bytes, LEAST_MEMORY_BYTES, where="available")


def examine_space(name: str, folder: Path, least_bytes: int) -> Finding:
    """Judge the free space where `folder` is, or will be."""
    return _enough(name, host.free_disk_bytes(folder), least_bytes, where=f"free in {folder}")


def _enough(name: str, found_bytes: int, least_bytes: int, *, where: str) -> Finding:
    return Finding(
        name=name,
        good=found_bytes >= least_bytes,
        required=True,
        found=f"{found_bytes / 2**30:.1f} GiB {where}",
        needed=f"{least_bytes / 2**30:.1f} GiB",
    )


def _examine_packages() -> tuple[Finding, ...]:
    """Look at which way packages are installed, and at what decides that."""
    offer = probe_host()
    way = _examine_package_way(offer)
    return (way,) if offer.is_root else (way, _examine_subordinate_ids())


def _examine_package_way(offer: HostOffer) -> Finding:
    try:
        choice = choose_package_mode("minbase", offer)
    except HostError as error:
        return Finding(
            name="packages", good=False, required=True, found=str(error), needed=error.hint
        )
    return Finding(
        name="packages", good=True, required=True, found=f"{choice.mode}: {choice.reason}"
    )


def _examine_subordinate_ids() -> Finding:
    user_id = os.getuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:
        name = ""
    try:
        count = count_subordinate_ids(
            Path("/etc/subuid").read_text(encoding="utf-8", errors="replace"),
            names={name, str(user_id)},
        )
    except OSError:
        count = 0
    return Finding(
        name="subordinate ids",
        good=count >= 2**16,
        required=False,
        found=f"{count} in /etc/subuid",
        needed="65536, for user namespaces: "
        f"usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {name}",
    )


def count_subordinate_ids(text: str, *, names: Iterable[str]) -> int:
    """Return how many ids /etc/subuid gives to any of `names` (subuid(5))."""
    wanted = set(names) - {""}
    count = 0
    for line in text.splitlines():
        fields = line.strip().split(":")
        if len(fields) == 3 and fields[0] in wanted and fields[2].isascii() and fields[2].isdigit():
            count += int(fields[2])
    return count


def _examine_kvm_device() -> Finding:
    device = Path("/dev/kvm")
    if not device.exists():
        found = "not there: no KVM in this kernel, or none passed into this container"
    elif not os.access(device, os.R_OK | os.W_OK):
        found = "there, but this user may not open it: join the group kvm"
    else:
        found = "there, and may be opened"
    return Finding(
        name="/dev/kvm",
        good=found.endswith("opened"),
        required=False,
        found=found,
        needed="readable and writable; without it machines run on TCG, some ten times slower",
    )


def _examine_acceleration(wish: AcceleratorWish) -> tuple[Accelerator | None, Finding]:
    try:
        cache = host.cache_dir()
        # The kernel may be of a cached root tree.
        with in_use(cache) if cache.is_dir() else nullcontext():
            chosen = choose_accelerator(wish, kernel=find_proof_kernel(cache), cache=cache)
    except HostError as error:
        return None, Finding(
            name="acceleration",
            good=False,
            required=True,
            found=f"none: {error}",
            needed=error.hint,
        )
    return chosen, Finding(
        name="acceleration",
        good=True,
        required=True,
        found=f"{chosen.kind}, -cpu {chosen.cpu_model}: {chosen.reason}",
    )


_WAYS = {
    MetadataWay.NAMESPACE: "QEMU runs in a network namespace with nothing but 169.254.169.254",
    MetadataWay.GUESTFWD: "169.254.169.254 through QEMU's guestfwd and a relay, restrict=on: DHCP "
    "hands out no router and no DNS server",
}


def _examine_way() -> Finding:
    """Tell how guests come to their metadata service; none of the ways leads to the host."""
    try:
        choice = choose_way()
    except (BadInputError, HostError) as error:
        return Finding(
            name="metadata", good=False, required=True, found=str(error), needed=error.hint
        )
    return Finding(
        name="metadata",
        good=True,
        required=True,
        found=f"{choice.way}: {choice.reason}; {_WAYS[choice.way]}",
    )


def examine_appliance() -> Finding:
    """Tell whether the Xen appliance is there; it is only needed for genuine PV boots."""
    name = "Xen appliance"
    try:
        state = find_appliance(host.cache_dir())
    except (BadInputError, HostError) as error:
        return Finding(name=name, good=False, required=False, found=str(error), needed=error.hint)
    if state.folder is None:
        return Finding(
            name=name,
            good=True,
            required=False,
            found="not yet made: the first boot with --pv-boot xen-direct or xen-grub makes it of "
            "Debian's packages",
        )
    if state.damaged:
        return Finding(
            name=name,
            good=True,
            required=False,
            found=f"damaged in {state.folder} ({', '.join(state.damaged)}): the first boot that "
            "needs it makes it anew",
        )
    found = f"{state.size_bytes / 1e6:.1f} MB in {state.folder}"
    return Finding(name=name, good=True, required=False, found=found)


def install_line(family: Family, programs: Sequence[ProgramState]) -> str:
    """Return the command that installs the missing `programs`, or "" where none is missing.

    Names that are no package of the distribution itself ("… (AUR)") come behind a "#".
    """
    if not any(state.is_missing for state in programs):
        return ""
    if family is Family.DEBIAN:
        return "scripts/setup"
    known = Family.DEBIAN if family is Family.OTHER else family
    names = sorted({state.packages[known] for state in programs if state.is_missing})
    if family is Family.OTHER:
        return f"# Debian's names: {' '.join(names)}"
    plain = " ".join(name for name in names if " " not in name)
    by_hand = "; ".join(name for name in names if " " in name)
    install = "dnf install" if family is Family.FEDORA else "pacman -S"
    parts = [f"{install} {plain}" if plain else "", f"# by hand: {by_hand}" if by_hand else ""]
    return "  ".join(part for part in parts if part)
