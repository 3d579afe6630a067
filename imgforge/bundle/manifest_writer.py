"""A manifest becomes bytes, in the order and the form that EC2 and the original check."""

import zlib
from collections.abc import Iterator
from html import escape

from imgforge import __version__
from imgforge.bundle.manifest import (
    BundledImage,
    Bundler,
    MachineConfiguration,
    Manifest,
    ManifestVersion,
)

BUNDLER_NAME = "imgforge"
_SHA1 = " algorithm='SHA1'"
_AES = " algorithm='AES-128-CBC'"


def own_bundler() -> Bundler:
    """Return what this version of imgforge calls itself."""
    return Bundler(BUNDLER_NAME, __version__, release_of(__version__))


def release_of(version: str) -> str:
    """Return the release that belongs to a version of imgforge.

    A check sum: name, version and release are the one text of a manifest that nobody signs.
    """
    return str(zlib.crc32(f"{BUNDLER_NAME} {version}".encode()))


def write_manifest(manifest: Manifest) -> bytes:
    """Return a manifest's bytes: compact, with single quotes."""
    bundler = manifest.bundler
    inner = "".join(
        (
            _leaf("version", manifest.version),
            _element(
                "bundler",
                _leaf("name", bundler.name),
                _leaf("version", bundler.version),
                _leaf("release", bundler.release),
            ),
            write_signed(manifest),
            _leaf("signature", manifest.signature),
        )
    )
    return f"<?xml version='1.0'?>{_element('manifest', inner)}".encode()


def write_signed(manifest: Manifest) -> str:
    """Return the text that is signed: the machine's configuration, and the image behind it."""
    image = _element("image", *_image(manifest.image, manifest.version))
    if manifest.machine is None or manifest.version is ManifestVersion.V3:
        return image
    return _element("machine_configuration", *_machine(manifest.machine, manifest.version)) + image


def _machine(machine: MachineConfiguration, version: ManifestVersion) -> Iterator[str]:
    yield _leaf("architecture", machine.architecture)
    if version is not ManifestVersion.V2007_10_10:
        return
    if machine.mappings:
        pairs = sorted((mapping.virtual, mapping.device) for mapping in machine.mappings)
        yield _element(
            "block_device_mapping",
            *(
                _element("mapping", _leaf("virtual", virtual), _leaf("device", device))
                for virtual, device in pairs
            ),
        )
    yield _leaf("kernel_id", machine.kernel_id)
    yield _leaf("ramdisk_id", machine.ramdisk_id)
    if machine.product_codes:
        codes = (_leaf("product_code", code) for code in machine.product_codes)
        yield _element("product_codes", *codes)


def _image(image: BundledImage, version: ManifestVersion) -> Iterator[str]:
    yield _leaf("name", image.name)
    yield _leaf("user", image.account)
    if version is not ManifestVersion.V3:
        yield _leaf("type", image.type)
    yield _leaf("kernel_name", image.kernel_name)
    if image.ancestors:
        yield _element("ancestry", *(_leaf("ancestor_ami_id", one) for one in image.ancestors))
    yield _leaf("digest", image.sha1, _SHA1)
    yield _leaf("size", str(image.size_bytes))
    yield _leaf("bundled_size", str(image.bundled_size_bytes))
    yield _leaf("ec2_encrypted_key", image.key.ec2_key, _AES)
    yield _leaf("user_encrypted_key", image.key.user_key, _AES)
    yield _leaf("ec2_encrypted_iv", image.key.ec2_iv)
    yield _leaf("user_encrypted_iv", image.key.user_iv)
    parts = "".join(
        f"<part index='{index}'>{_leaf('filename', part.filename)}"
        f"{_leaf('digest', part.sha1, _SHA1)}</part>"
        for index, part in enumerate(image.parts)
    )
    yield f"<parts count='{len(image.parts)}'>{parts}</parts>"


def _element(name: str, *inner: str) -> str:
    return f"<{name}>{''.join(inner)}</{name}>"


def _leaf(name: str, text: str, attributes: str = "") -> str:
    """Return an element with a text; empty ones are left out."""
    return f"<{name}{attributes}>{escape(text, quote=False)}</{name}>" if text else ""
