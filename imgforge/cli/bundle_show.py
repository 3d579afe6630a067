"""Bundles as a person or a program reads them."""

from typing import Any

from rich.console import Console

from imgforge.bundle import Bundle, Manifest, Verification
from imgforge.cli.tables import human_size, print_rows


def manifest_values(manifest: Manifest) -> dict[str, Any]:
    """Return what `bundle inspect --json` prints; the README promises these keys."""
    image, machine = manifest.image, manifest.machine
    return {
        "version": manifest.version,
        "bundler": {
            "name": manifest.bundler.name,
            "version": manifest.bundler.version,
            "release": manifest.bundler.release,
        },
        "architecture": machine.architecture if machine else None,
        "block_device_mapping": {
            mapping.virtual: mapping.device for mapping in (machine.mappings if machine else ())
        },
        "kernel_id": (machine.kernel_id or None) if machine else None,
        "ramdisk_id": (machine.ramdisk_id or None) if machine else None,
        "product_codes": list(machine.product_codes) if machine else [],
        "name": image.name,
        "account": image.account,
        "type": image.type,
        "ancestors": list(image.ancestors),
        "sha1": image.sha1,
        "size_bytes": image.size_bytes,
        "bundled_size_bytes": image.bundled_size_bytes,
        "parts": [{"filename": part.filename, "sha1": part.sha1} for part in image.parts],
    }


def show_manifest(console: Console, manifest: Manifest) -> None:
    """Print a manifest as a table."""
    image, machine, bundler = manifest.image, manifest.machine, manifest.bundler
    rows = [
        ("name", image.name),
        ("account", image.account),
        ("type", str(image.type)),
        ("size", f"{human_size(image.size_bytes)} ({image.size_bytes} bytes)"),
        ("bundled", f"{human_size(image.bundled_size_bytes)} in {len(image.parts)} parts"),
        ("tar's SHA-1", image.sha1),
    ]
    if machine is not None:
        rows.append(("architecture", machine.architecture))
        rows += [(f"maps {one.virtual}", one.device) for one in machine.mappings]
        rows += [("kernel", machine.kernel_id)] if machine.kernel_id else []
        rows += [("ramdisk", machine.ramdisk_id)] if machine.ramdisk_id else []
        rows += [("product code", code) for code in machine.product_codes]
    rows += [("ancestor", one) for one in image.ancestors]
    rows.append(("manifest", f"{manifest.version}, by {bundler.name} {bundler.version}".rstrip()))
    print_rows(console, ("what", "value"), rows)


def bundle_values(bundle: Bundle) -> dict[str, Any]:
    """Return what `bundle create --json` prints; the README promises these keys."""
    return {
        "manifest": str(bundle.manifest_path),
        "parts": [str(path) for path in bundle.part_paths],
        "size_bytes": bundle.manifest.image.size_bytes,
        "bundled_size_bytes": bundle.manifest.image.bundled_size_bytes,
        "sha1": bundle.manifest.image.sha1,
    }


def verification_values(verification: Verification) -> dict[str, Any]:
    """Return what `bundle verify --json` prints; the README promises these keys."""
    return {
        "good": verification.is_good,
        "failed": list(verification.failed),
        "unchecked": list(verification.unchecked),
        "checks": [
            {"id": check.id, "outcome": check.outcome, "words": check.words}
            for check in verification.checks
        ],
    }


def show_verification(console: Console, verification: Verification) -> None:
    """Print each check, and what it all comes to."""
    rows = [(check.id, str(check.outcome), check.words) for check in verification.checks]
    print_rows(console, ("check", "outcome", "found"), rows)
    console.print()
    console.print(_conclusion(verification), markup=False)


def _conclusion(verification: Verification) -> str:
    """Return what a verification comes to: what nobody signed for is not called good."""
    if not verification.is_good:
        return f"not good: {', '.join(verification.failed)}"
    words = "good" if verification.is_proved else "nothing wrong found"
    if not verification.unchecked:
        return words
    return f"{words}; not checked: {', '.join(verification.unchecked)}"
