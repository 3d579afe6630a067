"""Manifests: written byte by byte as EC2 wants them, and read without trusting them."""

from dataclasses import replace
from pathlib import Path

import pytest

from imgforge.bundle.manifest import (
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
from imgforge.bundle.manifest_reader import read_manifest
from imgforge.bundle.manifest_writer import own_bundler, write_manifest
from imgforge.bundle.problem import BundleError
from imgforge.bundle.secret import SignatureForm, sign_manifest, verify_signature
from imgforge.bundle.xml_reader import LARGEST_BYTES
from tests.bundle_material import identity

SEALED = SealedKey(*(digit * 64 for digit in "abcd"))
IMAGE = BundledImage(
    name="image",
    account="123456789012",
    type=ImageType.MACHINE,
    sha1="0" * 40,
    size_bytes=10,
    bundled_size_bytes=20,
    key=SEALED,
    parts=(Part("image.part.0", "1" * 40), Part("image.part.1", "2" * 40)),
)
MACHINE = MachineConfiguration(
    "x86_64",
    (Mapping("root", "/dev/sda1"), Mapping("ami", "sda")),
    kernel_id="aki-1",
    ramdisk_id="ari-1",
    product_codes=("A", "B"),
)
FOREIGN = Bundler("ec2-ami-tools", "1.5", "3")
MANIFEST = Manifest(ManifestVersion.V2007_10_10, FOREIGN, MACHINE, IMAGE, "e" * 64)
WRITTEN = (
    "<?xml version='1.0'?><manifest><version>2007-10-10</version>"
    "<bundler><name>ec2-ami-tools</name><version>1.5</version><release>3</release></bundler>"
    "<machine_configuration><architecture>x86_64</architecture><block_device_mapping>"
    "<mapping><virtual>ami</virtual><device>sda</device></mapping>"
    "<mapping><virtual>root</virtual><device>/dev/sda1</device></mapping></block_device_mapping>"
    "<kernel_id>aki-1</kernel_id><ramdisk_id>ari-1</ramdisk_id><product_codes>"
    "<product_code>A</product_code><product_code>B</product_code></product_codes>"
    "</machine_configuration><image><name>image</name><user>123456789012</user>"
    f"<type>machine</type><digest algorithm='SHA1'>{'0' * 40}</digest><size>10</size>"
    f"<bundled_size>20</bundled_size>"
    f"<ec2_encrypted_key algorithm='AES-128-CBC'>{'a' * 64}</ec2_encrypted_key>"
    f"<user_encrypted_key algorithm='AES-128-CBC'>{'b' * 64}</user_encrypted_key>"
    f"<ec2_encrypted_iv>{'c' * 64}</ec2_encrypted_iv>"
    f"<user_encrypted_iv>{'d' * 64}</user_encrypted_iv><parts count='2'>"
    f"<part index='0'><filename>image.part.0</filename><digest algorithm='SHA1'>{'1' * 40}"
    f"</digest></part><part index='1'><filename>image.part.1</filename>"
    f"<digest algorithm='SHA1'>{'2' * 40}</digest></part></parts></image>"
    f"<signature>{'e' * 64}</signature></manifest>"
)


def changed(old: str, new: str) -> bytes:
    assert old in WRITTEN
    return WRITTEN.replace(old, new, 1).encode()


def refused(content: bytes) -> str:
    """Return the id of the check that a manifest fails."""
    with pytest.raises(BundleError) as caught:
        read_manifest(content)
    assert str(caught.value).startswith("Manifest: ")
    assert str(caught.value).isprintable()
    return caught.value.check


def test_is_written_byte_by_byte_as_the_original_writes_it() -> None:
    assert write_manifest(MANIFEST).decode() == WRITTEN


def test_what_is_written_is_read_back() -> None:
    mappings = tuple(sorted(MACHINE.mappings, key=lambda mapping: mapping.virtual))
    read = read_manifest(WRITTEN.encode()).manifest
    assert read == replace(MANIFEST, machine=replace(MACHINE, mappings=mappings))


@pytest.mark.parametrize("kind", ImageType)
def test_every_type_is_read_back(kind: ImageType) -> None:
    name = "vmlinuz" if kind is ImageType.KERNEL else ""
    image = replace(IMAGE, type=kind, kernel_name=name, ancestors=("ami-1", "ami-2"))
    manifest = replace(MANIFEST, machine=MachineConfiguration("i386"), image=image)
    assert read_manifest(write_manifest(manifest)).manifest == manifest


def test_empty_values_are_left_out() -> None:
    written = write_manifest(replace(MANIFEST, machine=MachineConfiguration("x86_64"))).decode()
    for name in ("block_device_mapping", "kernel_id", "ramdisk_id", "product_codes", "ancestry"):
        assert name not in written


def test_older_versions_are_read_and_sign_less() -> None:
    old = replace(
        MANIFEST, version=ManifestVersion.V2007_08_29, machine=MachineConfiguration("i386")
    )
    read = read_manifest(write_manifest(old))
    assert read.manifest == old
    assert read.signed_as_it_stands.startswith(b"<machine_configuration><architecture>i386<")
    oldest = replace(MANIFEST, version=ManifestVersion.V3, machine=None)
    read = read_manifest(write_manifest(oldest))
    assert read.manifest == oldest
    assert read.signed_as_it_stands.startswith(b"<image><name>")


def test_a_signature_is_found_over_raw_bytes_and_over_single_quotes(tmp_path: Path) -> None:
    user = identity("user", tmp_path)
    signed = write_manifest(sign_manifest(MANIFEST, user.key))
    public_key = user.certificate.public_key
    assert verify_signature(read_manifest(signed), public_key) is SignatureForm.AS_IT_STANDS
    quoted = signed.replace(b"'", b'"')
    assert verify_signature(read_manifest(quoted), public_key) is SignatureForm.REQUOTED
    declared = signed.replace(b"<?xml version='1.0'?>", b"<?xml version='1.0' encoding='UTF-8'?>\n")
    assert verify_signature(read_manifest(declared), public_key) is SignatureForm.AS_IT_STANDS
    pretty = signed.replace(b"><", b">\n <")
    assert verify_signature(read_manifest(pretty), public_key) is None
    other = identity("ec2", tmp_path).certificate.public_key
    assert verify_signature(read_manifest(signed), other) is None


def test_the_bundler_is_not_signed_but_ours_cannot_be_changed_unseen(tmp_path: Path) -> None:
    ours = replace(MANIFEST, bundler=own_bundler())
    written = write_manifest(sign_manifest(ours, identity("user", tmp_path).key))
    assert read_manifest(written).manifest.bundler == own_bundler()
    start, end = written.index(b"<bundler>"), written.index(b"<machine_configuration>")
    for position in range(start, end):
        flipped = bytearray(written)
        flipped[position] ^= 1
        assert refused(bytes(flipped)).startswith("manifest-")
    assert refused(written.replace(b"><", b">\n<")) == "manifest-bundler"


BOMB = b"""<?xml version="1.0"?><!DOCTYPE manifest [<!ENTITY a "aaaaaaaaaa">
<!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><manifest>&b;</manifest>"""


@pytest.mark.parametrize(
    ("content", "check"),
    [
        (b"", "manifest-xml"),
        (b"\0" * 100, "manifest-xml"),
        (b"no xml", "manifest-xml"),
        (BOMB, "manifest-xml"),
        (b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><manifest/>', "manifest-xml"),
        (b"<manifest>&unknown;</manifest>", "manifest-xml"),
        (b"<?xml-stylesheet href='x'?><manifest/>", "manifest-xml"),
        (b"<?xml version='1.1'?><manifest/>", "manifest-xml"),
        (changed("<user>1234", "<user>12<!-- -->34"), "manifest-xml"),
        (changed("<user>1234", "<user><![CDATA[12]]>34"), "manifest-xml"),
        (b"<?xml version='1.0' encoding='UTF-7'?><manifest/>", "manifest-xml"),
        (WRITTEN.encode("utf-16"), "manifest-xml"),
        (b"<a>" * 10_000, "manifest-xml"),
        (b"<manifest>" + b"<a/>" * 200_000 + b"</manifest>", "manifest-xml"),
        (b" " * (LARGEST_BYTES + 1), "manifest-xml"),
        (b"<other/>", "manifest-order"),
        (b"<manifest/>", "manifest-order"),
        (WRITTEN.encode() + b"<manifest/>", "manifest-xml"),
    ],
    ids=lambda value: value if isinstance(value, str) else ascii(value[:20]),
)
def test_hostile_xml_is_refused(content: bytes, check: str) -> None:
    assert refused(content) == check


def test_a_name_in_a_message_stands_in_plain_brackets() -> None:
    for content in (changed("<type>machine</type>", "<tüpe/>"), "<tüpe/>".encode()):
        with pytest.raises(BundleError, match=r"<t\\xfcpe>"):
            read_manifest(content)


MAPPINGS = WRITTEN[WRITTEN.index("<block_device") : WRITTEN.index("<kernel_id>")]


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("2007-10-10", "2007-10-11", "manifest-version"),
        ("<release>3</release>", "<release>3</release><extra/>", "manifest-order"),
        ("<type>machine</type>", "", "manifest-order"),
        ("<type>machine</type>", "<type>machine</type>" * 2, "manifest-order"),
        ("<type>machine</type>", "<type>toaster</type>", "manifest-value"),
        (
            "<size>10</size><bundled_size>20</bundled_size>",
            "<bundled_size>20</bundled_size><size>10</size>",
            "manifest-order",
        ),
        (
            MAPPINGS + "<kernel_id>aki-1</kernel_id>",
            "<kernel_id>aki-1</kernel_id>" + MAPPINGS,
            "manifest-order",
        ),
        ("<image>", "<image>text", "manifest-order"),
        ("<image>", "<image id='1'>", "manifest-order"),
        ("<size>10</size>", "<size><b>10</b></size>", "manifest-order"),
        ("<virtual>root", "<virtual>ami", "manifest-value"),
        ("<user>123456789012", "<user>1234-5678-9012", "manifest-value"),
        ("<size>10<", "<size>0<", "manifest-value"),
        ("<size>10<", "<size>-1<", "manifest-value"),
        ("<size>10<", "<size>1e3<", "manifest-value"),
        ("<size>10<", f"<size>{10 * 2**40}<", "manifest-value"),
        ("<size>10<", f"<size>{'9' * 5000}<", "manifest-value"),
        ("0" * 40, "A" * 40, "manifest-value"),
        ("0" * 40, "0" * 39, "manifest-value"),
        ("<digest algorithm='SHA1'>", "<digest algorithm='MD5'>", "manifest-value"),
        ("e" * 64, "E" * 64, "manifest-value"),
        ("e" * 64, "", "manifest-value"),
        ("a" * 64, "a" * 63, "manifest-value"),
        ("<name>image</name>", "<name>../image</name>", "manifest-name"),
        ("<name>image</name>", "<name>/etc/passwd</name>", "manifest-name"),
        ("<name>image</name>", "<name>image;reboot</name>", "manifest-name"),
        ("<name>image</name>", "<name>.image</name>", "manifest-name"),
        ("<name>image</name>", "<name>-image</name>", "manifest-name"),
        ("<name>image</name>", "<name></name>", "manifest-name"),
        ("<name>image</name>", f"<name>{'i' * 300}</name>", "manifest-name"),
        ("image.part.0", "../image.part.0", "manifest-name"),
        ("image.part.0", "/tmp/image.part.0", "manifest-name"),
        ("image.part.0", "$(reboot).part.0", "manifest-name"),
        ("image.part.0", "a b.part.0", "manifest-name"),
        ("image.part.0", "image.part.0&#10;", "manifest-none"),
        ("image.part.0", "im&#10;age.part.0", "manifest-name"),
        ("image.part.0", "image", "manifest-name"),
        ("image.part.0", "image.part.1", "manifest-count"),
        ("count='2'", "count='1'", "manifest-count"),
        ("count='2'", "count='3'", "manifest-count"),
        ("count='2'", "count='0'", "manifest-count"),
        ("count='2'", "count='1000000000'", "manifest-count"),
        ("count='2'", "", "manifest-count"),
        ("index='0'", "index='1'", "manifest-count"),
        ("index='1'", "index='01'", "manifest-count"),
        ("<release>3", "<release>1'", "manifest-none"),
        ("<name>ec2-ami-tools", "<name>imgforge", "manifest-bundler"),
    ],
)
def test_a_manifest_that_does_not_fit_is_refused(old: str, new: str, check: str) -> None:
    if check == "manifest-none":  # white space around a value, and unsigned text, are harmless
        assert read_manifest(changed(old, new)).manifest.image == IMAGE
    else:
        assert refused(changed(old, new)) == check


def test_every_cut_is_refused() -> None:
    for end in range(len(WRITTEN)):
        assert refused(WRITTEN[:end].encode())


def test_two_swapped_elements_are_refused_wherever_they_stand() -> None:
    parts = WRITTEN.split("<image>")[1].split("<parts")[0]
    elements = [f"<{part}" for part in parts.replace("</", "\0").split("<")[1:]]
    whole = [element.replace("\0", "</") for element in elements]
    for index in range(len(whole) - 1):
        swapped = [*whole[:index], whole[index + 1], whole[index], *whole[index + 2 :]]
        assert refused(changed(parts, "".join(swapped))) == "manifest-order"
