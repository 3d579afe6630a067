"""A manifest is changed and signed again."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from imgforge.bundle.extract import load_manifest, require_signature
from imgforge.bundle.keys import Certificate, SigningPair
from imgforge.bundle.machine_rules import check_machine
from imgforge.bundle.manifest import (
    MachineConfiguration,
    Manifest,
    ManifestVersion,
    Mapping,
)
from imgforge.bundle.manifest_writer import write_manifest
from imgforge.bundle.secret import Reader, open_secret, seal_secret, sign_manifest
from imgforge.errors import BadInputError
from imgforge.files import appearing, told_writing
from imgforge.progress import warn


class OldSignature(StrEnum):
    """What the signature of a manifest has to be before it is changed."""

    GOOD = "good"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Edit:
    """What is to change; None leaves it, an empty text takes it out.

    `mappings` are added to what is there, or take the place of the same virtual device's;
    `dropped_mappings` are virtual devices. `ec2` is another region's certificate, for which the
    AES key is encrypted anew.
    """

    architecture: str | None = None
    mappings: tuple[Mapping, ...] = ()
    dropped_mappings: tuple[str, ...] = ()
    kernel_id: str | None = None
    ramdisk_id: str | None = None
    product_codes: tuple[str, ...] = ()
    dropped_product_codes: tuple[str, ...] = ()
    ec2: Certificate | None = None


def edit_manifest(
    path: Path,
    edit: Edit,
    *,
    pair: SigningPair,
    old_signature: OldSignature = OldSignature.GOOD,
    destination: Path | None = None,
) -> Manifest:
    """Change a manifest and sign it again, in its place or as `destination`.

    What is not changed keeps its bytes, but for a foreign manifest's white space and quotes; one
    of an older version becomes 2007-10-10. Nothing that somebody else changed is signed unseen:
    the old signature has to be good, unless `old_signature` says otherwise.
    Raises BundleError, and BadInputError for a change that cannot be made.
    """
    if destination is not None and destination != path and destination.exists():
        raise BadInputError(f"Manifest {destination}: already exists.", hint="Name another file.")
    edited = edited_manifest(path, edit, pair=pair, old_signature=old_signature)
    write_in_place(edited, destination or path)
    return edited


def edited_manifest(
    path: Path, edit: Edit, *, pair: SigningPair, old_signature: OldSignature = OldSignature.GOOD
) -> Manifest:
    """Return what `edit_manifest` writes; it raises the same."""
    file = load_manifest(path)
    if old_signature is OldSignature.GOOD:
        require_signature(file, pair.key.public_key)
    if problem := pair.certificate.expiry_problem(datetime.now(UTC)):
        warn(problem)
    manifest = file.manifest
    machine = edit_machine(manifest.machine, edit)
    image = manifest.image
    if edit.ec2 is not None:
        secret = open_secret(image.key, key=pair.key, reader=Reader.USER)
        sealed = seal_secret(secret, user=pair.certificate, ec2=edit.ec2)
        key = replace(image.key, ec2_key=sealed.ec2_key, ec2_iv=sealed.ec2_iv)
        image = replace(image, key=key)
    changed = replace(
        manifest, version=ManifestVersion.V2007_10_10, machine=machine, image=image, signature=""
    )
    return sign_manifest(changed, pair.key)


def write_in_place(manifest: Manifest, place: Path) -> None:
    """Write a manifest as the file `place`, which it replaces. Raises HostError."""
    with told_writing(place.parent, "the manifest"), appearing(place) as new:
        new.write_bytes(write_manifest(manifest))


def keep_backup(path: Path) -> Path:
    """Copy a manifest to MANIFEST.bak beside it, and return that.

    Raises BadInputError where another one stands there: the oldest is the one to keep.
    """
    content = path.read_bytes()
    backup = path.with_name(f"{path.name}.bak")
    with told_writing(path.parent, "a copy of the manifest"):
        if not backup.exists():
            with appearing(backup) as new:
                new.write_bytes(content)
        elif backup.read_bytes() != content:
            raise BadInputError(f"File {backup}: already exists, with another content.")
    return backup


def edit_machine(machine: MachineConfiguration | None, edit: Edit) -> MachineConfiguration:
    """Return a machine's configuration as it becomes. Raises BadInputError."""
    architecture = edit.architecture or (machine.architecture if machine else "")
    if not architecture:
        raise BadInputError(
            "Manifest: is of version 3, which names no architecture.", hint="Give --arch."
        )
    old = machine or MachineConfiguration(architecture)
    mappings = {mapping.virtual: mapping for mapping in old.mappings}
    _require("mapping", edit.dropped_mappings, mappings)
    _require("product code", edit.dropped_product_codes, old.product_codes)
    mappings |= {mapping.virtual: mapping for mapping in edit.mappings}
    codes = dict.fromkeys((*old.product_codes, *edit.product_codes))
    changed = MachineConfiguration(
        architecture=architecture,
        mappings=tuple(
            mappings[name] for name in sorted(mappings) if name not in edit.dropped_mappings
        ),
        kernel_id=old.kernel_id if edit.kernel_id is None else edit.kernel_id,
        ramdisk_id=old.ramdisk_id if edit.ramdisk_id is None else edit.ramdisk_id,
        product_codes=tuple(code for code in codes if code not in edit.dropped_product_codes),
    )
    check_machine(changed)
    return changed


def _require(what: str, dropped: Iterable[str], there: Iterable[str]) -> None:
    for name in dropped:
        if name not in set(there):
            raise BadInputError(
                f"Manifest: has no {what} {name!r}; it has {', '.join(sorted(there)) or 'none'}."
            )
