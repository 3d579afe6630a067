"""What EC2 would refuse of an image, and what would not boot there, all at once and beforehand."""

from collections.abc import Iterator
from dataclasses import dataclass

from imgforge.aki import listed_pv_grub
from imgforge.catalog import (
    BootMode,
    Finding,
    ImageRegistration,
    Severity,
    VirtualizationType,
    advise_registration,
    check_registration,
)
from imgforge.disk import Disk, MenuFinding, Weight, World, examine_menu, has_esp
from imgforge.errors import BadInputError

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


def preflight(
    registration: ImageRegistration, *, disk: Disk, region: str | None = None
) -> tuple[PreflightFinding, ...]:
    """Return every rule that registering `disk` so would break; the disk is only read.

    `region` is where it is to be registered, if that is known: kernels are of their region alone.
    """
    of_request = check_registration(registration, disk=disk, snapshots={}, region=region)
    advice = advise_registration(registration)
    return (*map(_of_finding, (*of_request, *advice)), *_of_disk(registration, disk))


def _of_finding(finding: Finding) -> PreflightFinding:
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
