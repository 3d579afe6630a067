"""Bytes become a manifest, in the order that EC2 checks; what does not fit is told in words.

The forms are those of the original's manifests: 2007-10-10, 2007-08-29 and version 3.
"""

import re
from dataclasses import dataclass

from imgforge.bundle.manifest import (
    LARGEST_IMAGE_BYTES,
    BundledImage,
    Bundler,
    ImageType,
    MachineConfiguration,
    Manifest,
    ManifestVersion,
    Mapping,
    Part,
    SealedKey,
)
from imgforge.bundle.manifest_writer import BUNDLER_NAME, release_of, write_manifest
from imgforge.bundle.names import (
    NAME_RULE,
    is_account,
    is_safe_name,
    is_safe_part_name,
)
from imgforge.bundle.problem import BundleError, shown
from imgforge.bundle.xml_reader import Element, read_xml, write_xml

MOST_PARTS = 20_000
_WORD = re.compile(r"[A-Za-z0-9_./:@+-]{1,128}")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_HEX = re.compile(r"(?:[0-9a-f]{2}){16,1024}")
_NUMBER = re.compile(r"0|[1-9][0-9]{0,14}")


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """A manifest with the texts that its signature may be over.

    `signed_as_it_stands` are the bytes of the file; `signed_requoted` the same with single quotes,
    as the original compares them.
    """

    manifest: Manifest
    signed_as_it_stands: bytes
    signed_requoted: bytes


def read_manifest(content: bytes) -> ManifestFile:
    """Read a manifest.

    Raises BundleError: manifest-xml, manifest-version, manifest-order (elements that are missing,
    unknown, doubled or elsewhere), manifest-value, manifest-name, manifest-count,
    manifest-bundler.
    """
    root = read_xml(content)
    if root.name != "manifest":
        raise _order(f"{_tag(root.name)} is its outermost element; <manifest> is needed")
    row = _Row(root)
    version = _version(row.take("version"))
    bundler = _bundler(row.take("bundler"))
    machine = None
    signed = []
    if version is not ManifestVersion.V3:
        element = row.take("machine_configuration")
        machine = _machine(element, version)
        signed.append(element)
    element = row.take("image")
    signed.append(element)
    image = _image(element, version)
    signature = _matching(row.take("signature"), _HEX, "lower-case hexadecimal digits")
    row.close()
    manifest = Manifest(version, bundler, machine, image, signature)
    if bundler.name == BUNDLER_NAME and write_manifest(manifest) != content:
        raise BundleError(
            "manifest-bundler",
            "Manifest: says that imgforge wrote it, and is not as imgforge writes: it was changed.",
        )
    return ManifestFile(
        manifest,
        b"".join(content[one.start : one.end] for one in signed),
        "".join(text for one in signed for text in write_xml(one)).encode(),
    )


class _Row:
    """The children of an element, taken in the one order that is allowed."""

    def __init__(self, element: Element, *, attributes: tuple[str, ...] = ()) -> None:
        _check_attributes(element, attributes)
        if element.text.strip():
            raise _order(f"<{element.name}> has text: {shown(element.text.strip())}")
        self._name = element.name
        self._rest = list(reversed(element.children))

    def find(self, name: str) -> Element | None:
        """Return the next child, if it has this name."""
        if self._rest and self._rest[-1].name == name:
            return self._rest.pop()
        return None

    def take(self, name: str) -> Element:
        """Return the next child, which must have this name."""
        found = self.find(name)
        if found is None:
            there = _tag(self._rest[-1].name) if self._rest else "the end"
            raise _order(f"<{self._name}> has {there} where <{name}> is needed")
        return found

    def close(self) -> None:
        """Refuse what is left."""
        if self._rest:
            raise _order(
                f"<{self._name}> has {_tag(self._rest[-1].name)} where nothing more of that "
                "name may stand: it is unknown, doubled or out of order"
            )


def _check_attributes(element: Element, allowed: tuple[str, ...]) -> None:
    for name, _ in element.attributes:
        if name not in allowed:
            raise _order(f"<{element.name}> has an attribute {shown(name)}")


def _text(element: Element, *, attributes: tuple[str, ...] = ()) -> str:
    _check_attributes(element, attributes)
    if element.children:
        raise _order(f"<{element.name}> has elements in it; a text is needed")
    return element.text.strip()


def _matching(
    element: Element, rule: re.Pattern[str], words: str, *, attributes: tuple[str, ...] = ()
) -> str:
    text = _text(element, attributes=attributes)
    if not rule.fullmatch(text):
        raise _value(f"<{element.name}> is {shown(text)}; {words} are needed")
    return text


def _word(element: Element) -> str:
    return _matching(element, _WORD, "letters, digits and any of _ . / : @ + -")


def _number(element: Element) -> int:
    return int(_matching(element, _NUMBER, "decimal digits"))


def _algorithm(element: Element, needed: str) -> None:
    found = dict(element.attributes).get("algorithm", needed)
    if found != needed:
        raise _value(f"<{element.name}> has the algorithm {shown(found)}; it must be {needed}")


def _digest(element: Element) -> str:
    _algorithm(element, "SHA1")
    return _matching(element, _SHA1, "40 lower-case hexadecimal digits", attributes=("algorithm",))


def _sealed(element: Element) -> str:
    _algorithm(element, "AES-128-CBC")
    return _matching(element, _HEX, "lower-case hexadecimal digits", attributes=("algorithm",))


def _version(element: Element) -> ManifestVersion:
    text = _text(element)
    try:
        return ManifestVersion(text)
    except ValueError:
        known = ", ".join(ManifestVersion)
        raise BundleError(
            "manifest-version", f"Manifest: is of version {shown(text)}; {known} are known."
        ) from None


def _bundler(element: Element) -> Bundler:
    row = _Row(element)
    texts = [
        _text(found) if (found := row.find(name)) is not None else ""
        for name in ("name", "version", "release")
    ]
    row.close()
    bundler = Bundler(*texts)
    if (bundler.name == BUNDLER_NAME) is not (bundler.release == release_of(bundler.version)):
        raise BundleError(
            "manifest-bundler",
            f"Manifest: bundler {shown(bundler.name)} {shown(bundler.version)} has the release "
            f"{shown(bundler.release)}, which is not its own: they were changed.",
        )
    return bundler


def _machine(element: Element, version: ManifestVersion) -> MachineConfiguration:
    row = _Row(element)
    architecture = _word(row.take("architecture"))
    if version is not ManifestVersion.V2007_10_10:
        row.close()
        return MachineConfiguration(architecture)
    mappings: list[Mapping] = []
    if (found := row.find("block_device_mapping")) is not None:
        mappings = [_mapping(one) for one in _all_of(found, "mapping")]
        virtual = [mapping.virtual for mapping in mappings]
        if len(set(virtual)) < len(virtual):
            raise _value("<block_device_mapping> maps a virtual device twice")
    kernel = row.find("kernel_id")
    ramdisk = row.find("ramdisk_id")
    codes = row.find("product_codes")
    row.close()
    return MachineConfiguration(
        architecture,
        tuple(mappings),
        "" if kernel is None else _word(kernel),
        "" if ramdisk is None else _word(ramdisk),
        () if codes is None else tuple(_word(one) for one in _all_of(codes, "product_code")),
    )


def _mapping(element: Element) -> Mapping:
    row = _Row(element)
    mapping = Mapping(_word(row.take("virtual")), _word(row.take("device")))
    row.close()
    return mapping


def _all_of(element: Element, name: str) -> list[Element]:
    row = _Row(element)
    found = []
    while (child := row.find(name)) is not None:
        found.append(child)
    row.close()
    return found


def _image(element: Element, version: ManifestVersion) -> BundledImage:
    row = _Row(element)
    name = _name(row.take("name"))
    account = _text(row.take("user"))
    if not is_account(account):
        raise _value(f"<user> is {shown(account)}; twelve digits without dashes are needed")
    kind = _type(row.find("type") if version is ManifestVersion.V3 else row.take("type"))
    kernel_name = ""
    if kind is ImageType.KERNEL and (found := row.find("kernel_name")) is not None:
        kernel_name = _word(found)
    ancestry = row.find("ancestry")
    ancestors = () if ancestry is None else tuple(_all_of(ancestry, "ancestor_ami_id"))
    sha1 = _digest(row.take("digest"))
    size_bytes = _size(row.take("size"))
    bundled_size_bytes = _number(row.take("bundled_size"))
    key = SealedKey(
        ec2_key=_sealed(row.take("ec2_encrypted_key")),
        user_key=_sealed(row.take("user_encrypted_key")),
        ec2_iv=_sealed(row.take("ec2_encrypted_iv")),
        user_iv=_sealed(row.take("user_encrypted_iv")),
    )
    parts = _parts(row.take("parts"))
    row.close()
    return BundledImage(
        name=name,
        account=account,
        type=kind,
        sha1=sha1,
        size_bytes=size_bytes,
        bundled_size_bytes=bundled_size_bytes,
        key=key,
        parts=parts,
        kernel_name=kernel_name,
        ancestors=tuple(_word(one) for one in ancestors),
    )


def _name(element: Element) -> str:
    text = _text(element)
    if not is_safe_name(text):
        raise _unsafe(f"<name> is {shown(text)}; a name has {NAME_RULE}")
    return text


def _type(element: Element | None) -> ImageType:
    if element is None:
        return ImageType.MACHINE
    text = _text(element)
    try:
        return ImageType(text)
    except ValueError:
        raise _value(f"<type> is {shown(text)}; {', '.join(ImageType)} are known") from None


def _size(element: Element) -> int:
    size_bytes = _number(element)
    if not 0 < size_bytes <= LARGEST_IMAGE_BYTES:
        raise _value(f"<size> is {size_bytes} bytes; EC2 takes 1 byte to 10 GiB")
    return size_bytes


def _parts(element: Element) -> tuple[Part, ...]:
    row = _Row(element, attributes=("count",))
    count = dict(element.attributes).get("count", "")
    if not _NUMBER.fullmatch(count) or not 0 < int(count) <= MOST_PARTS:
        raise _count(f"<parts> has the count {shown(count)}; 1 to {MOST_PARTS} are allowed")
    parts: list[Part] = []
    while (child := row.find("part")) is not None:
        parts.append(_part(child, len(parts)))
    row.close()
    if len(parts) != int(count):
        raise _count(f"<parts> has the count {count}, and {len(parts)} parts")
    if len({part.filename for part in parts}) < len(parts):
        raise _count("<parts> names a file twice")
    return tuple(parts)


def _part(element: Element, index: int) -> Part:
    row = _Row(element, attributes=("index",))
    found = dict(element.attributes).get("index", "")
    if found != str(index):
        raise _count(f"<part> has the index {shown(found)} where {index} is needed")
    filename = _text(row.take("filename"))
    if not is_safe_part_name(filename):
        raise _unsafe(
            f"<filename> is {shown(filename)}; it must be NAME.part.<digits>, a name of {NAME_RULE}"
        )
    part = Part(filename, _digest(row.take("digest")))
    row.close()
    return part


def _tag(name: str) -> str:
    """Return the tag of an element that need not be a manifest's, as a message may hold it."""
    return f"<{shown(name)[1:-1]}>"


def _order(what: str) -> BundleError:
    return BundleError("manifest-order", f"Manifest: {what}.")


def _value(what: str) -> BundleError:
    return BundleError("manifest-value", f"Manifest: {what}.")


def _unsafe(what: str) -> BundleError:
    return BundleError("manifest-name", f"Manifest: {what}.")


def _count(what: str) -> BundleError:
    return BundleError("manifest-count", f"Manifest: {what}.")
