"""What EC2 would refuse of an image, and what would not boot there, all at once and beforehand."""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from imgforge.aki import listed_pv_grub
from imgforge.bundle import MANIFEST_SUFFIX, BundleError, read_manifest
from imgforge.catalog import (
    Architecture,
    BootMode,
    Finding,
    ImageRegistration,
    RefusedError,
    Severity,
    VirtualizationType,
    advise_from_snapshot,
    advise_registration,
    check_registration,
    smallest_gib,
)
from imgforge.disk import (
    Disk,
    MenuFinding,
    Weight,
    World,
    examine_menu,
    has_esp,
    read_platform,
)
from imgforge.errors import BadInputError
from imgforge.stored_bundle import read_stored_bundle

_NAME = "name"
_MOST_MANIFEST_BYTES = 4 * 2**20

_OF_WEIGHT = {
    Weight.ERROR: Severity.BROKEN,
    Weight.WARNING: Severity.WARNED,
    Weight.NOTE: Severity.NOTED,
}


@dataclass(frozen=True, slots=True)
class PreflightFinding:
    """A broken rule: what was found, what is needed, and where the rule is written.

    `code` is the error that EC2 would refuse with, "" where it would take the image.
    """

    rule: str
    severity: Severity
    found: str
    needed: str
    source: str
    code: str = ""
    hint: str = ""

    @property
    def keeps_out(self) -> bool:
        """Whether EC2 refuses the image, or it would not boot."""
        return self.severity in {Severity.REFUSED, Severity.BROKEN}


@dataclass(frozen=True, slots=True)
class KnownSnapshots:
    """The snapshots of volumes beside the root that are here: size in GiB, state if not done."""

    sizes_gib: Mapping[str, int]
    pending: Mapping[str, str]


def preflight(
    registration: ImageRegistration,
    *,
    disk: Disk,
    region: str | None = None,
    snapshots: KnownSnapshots | None = None,
) -> tuple[PreflightFinding, ...]:
    """Return every rule that registering `disk` so would break; the disk is only read.

    `region` is where it is to be registered, if that is known: kernels are of their region alone.
    Without `snapshots` nobody was asked for those that the mapping names, and nothing is said of
    them.
    """
    known = snapshots or _believed(registration)
    of_request = check_registration(
        registration, disk=disk, snapshots=known.sizes_gib, pending=known.pending, region=region
    )
    advice = (*advise_registration(registration), *_of_platform(disk))
    return (*map(told, (*of_request, *advice)), *_of_disk(registration, disk))


def told_nameless(findings: Iterable[PreflightFinding]) -> tuple[PreflightFinding, ...]:
    """Return the findings of a disk that nothing names, saying that of its name."""
    found = "no name: no recipe is known of the disk"
    hint = "Give one with --name."
    return tuple(
        replace(one, found=found, hint=hint) if one.rule == _NAME else one for one in findings
    )


def _believed(registration: ImageRegistration) -> KnownSnapshots:
    """Return the snapshots of a mapping as if each were there, and fitted."""
    root = registration.root_device_name
    volumes = [one.ebs for one in registration.block_devices if one.device_name != root]
    sizes = {
        ebs.snapshot_id: ebs.volume_size_gib or smallest_gib(ebs)
        for ebs in volumes
        if ebs is not None and ebs.snapshot_id
    }
    return KnownSnapshots(sizes, {})


def preflight_bundle(
    manifest: Path,
    *,
    name: str | None,
    asked: Mapping[str, Any],
    account_id: str | None = None,
    region: str | None = None,
) -> tuple[PreflightFinding, ...]:
    """Return every rule that registering the bundle of `manifest` so would break.

    `asked` has EC2's parameters; without a name it is the manifest's, without an account the
    bundle's own. Each part beside the manifest is read and compared, as EC2 does. Raises
    BadInputError where the manifest cannot be read.
    """
    content = _read(manifest)
    try:
        account = account_id or _account_of(content)
        bundle = read_stored_bundle(content, account, partial(_open_part, manifest.parent))
        plain = ImageRegistration(
            name=name or manifest.name.removesuffix(MANIFEST_SUFFIX),
            architecture=Architecture.I386,
            virtualization_type=VirtualizationType.PARAVIRTUAL,
            root_device_name="",
            block_devices=(),
        )
        registration = plain.of_bundle(bundle, asked)
    except RefusedError as error:
        source = "EC2 API, RegisterImage: ImageLocation"
        needed = "a bundle that is whole, of the account, and of what is asked"
        finding = PreflightFinding(
            "manifest", Severity.REFUSED, str(error), needed, source, code=error.code
        )
        return (finding,)
    of_request = check_registration(registration, disk=None, snapshots={}, region=region)
    return tuple(map(told, (*of_request, *advise_registration(registration))))


def _read(manifest: Path) -> bytes:
    try:
        with manifest.open("rb") as file:
            return file.read(_MOST_MANIFEST_BYTES)
    except OSError as error:
        raise BadInputError(f"Bundle {manifest}: cannot be read: {error.strerror}.") from None


def _account_of(content: bytes) -> str:
    try:
        return re.sub("[^0-9]", "", read_manifest(content).manifest.image.account)
    except BundleError as error:
        raise RefusedError("InvalidManifest", str(error)) from None


@contextmanager
def _open_part(folder: Path, filename: str) -> Iterator[BinaryIO]:
    try:
        with (folder / filename).open("rb") as file:
            yield file
    except OSError as error:
        why = f"the part {filename} cannot be read: {error.strerror}"
        raise RefusedError("InvalidManifest", f"The manifest cannot be used: {why}.") from None


def _of_platform(disk: Disk) -> Iterator[Finding]:
    """Yield what an image of the disk's system loses, since it is registered from a snapshot."""
    try:
        yield from advise_from_snapshot(read_platform(disk.path))
    except BadInputError:  # a disk that cannot be read is told as such
        return


def told(finding: Finding) -> PreflightFinding:
    """Return a finding of the rule set as preflight tells it."""
    return PreflightFinding(
        rule=finding.rule,
        severity=finding.severity,
        found=finding.found,
        needed=finding.needed,
        source=finding.source,
        code=finding.code,
    )


def _of_disk(registration: ImageRegistration, disk: Disk) -> Iterator[PreflightFinding]:
    """Yield why the disk would not boot as this image."""
    is_hvm = registration.virtualization_type is VirtualizationType.HVM
    try:
        if registration.boot_mode in {BootMode.UEFI, BootMode.UEFI_PREFERRED} and is_hvm:
            yield from _of_esp(registration.boot_mode, disk)
            if registration.boot_mode is BootMode.UEFI:
                return
        examined = examine_menu(
            disk.path,
            world=World.HVM if is_hvm else World.PV,
            pv_grub=None if is_hvm else listed_pv_grub(registration.kernel_id),
        )
    except BadInputError as error:
        yield PreflightFinding(
            "disk", Severity.BROKEN, str(error), "a disk that can be read", "its partition table"
        )
        return
    if is_hvm and examined.facts.found is None:
        # Another boot loader than GRUB Legacy: of what that needs nothing is known here.
        others = [one for one in examined.findings if not one.rule.id.startswith("menu-")]
        yield from map(_of_menu, others)
        yield PreflightFinding(
            "menu-missing",
            Severity.NOTED,
            "no menu.lst",
            "what another boot loader needs is not looked at",
            "imgforge menu-lst",
        )
        return
    yield from map(_of_menu, examined.findings)


def _of_esp(boot_mode: BootMode | None, disk: Disk) -> Iterator[PreflightFinding]:
    if not has_esp(disk.path):
        yield PreflightFinding(
            "esp",
            Severity.BROKEN if boot_mode is BootMode.UEFI else Severity.WARNED,
            f"none, with boot mode {boot_mode}",
            "an EFI system partition with a boot loader",
            "EC2 User Guide, AMI boot modes",
        )


def _of_menu(finding: MenuFinding) -> PreflightFinding:
    place = "" if finding.line is None else f"menu.lst line {finding.line}: "
    return PreflightFinding(
        rule=finding.rule.id,
        severity=_OF_WEIGHT[finding.weight],
        found=f"{place}{finding.found}",
        needed=finding.rule.needed,
        source=f"Guide, {finding.rule.section}",
        hint=finding.rule.hint,
    )
