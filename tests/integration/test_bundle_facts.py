"""The format, line by line, as the programs of the original's pipeline see it.

openssl, gzip and tar take a bundle apart; each test is a line of what is known of the bytes, and
of the manifest's order (the original AMI tools 1.5.3, and euca2ools 3.4).
"""

import hashlib
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.bundle_images import IMAGES, MIB, run
from tests.bundle_material import ACCOUNT, Material, make_material

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing here")
READERS = ("user", "ec2")


@dataclass(frozen=True, slots=True)
class Apart:
    """A bundle in its pieces: `stream` is the tar, `secrets` what each reader's key opens."""

    material: Material
    content: bytes
    root: ElementTree.Element
    secrets: dict[tuple[str, str], str]
    blobs: tuple[bytes, ...]
    stream: bytes

    def text(self, path: str) -> str:
        value = self.root.findtext(path)
        assert value is not None, path
        return value

    def children(self, path: str) -> list[str]:
        element = self.root.find(path)
        assert element is not None, path
        return [child.tag for child in element]


@pytest.fixture(scope="module", params=IMAGES, ids=lambda make: make.__name__)
def apart(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Apart:
    folder = tmp_path_factory.mktemp("material")
    request.param(folder / "image")
    material = make_material(folder, folder / "image")
    content = material.bundle.manifest_path.read_bytes()
    root = ElementTree.fromstring(content)  # our own bytes
    secrets = {}
    for reader, identity in zip(READERS, (material.user, material.ec2), strict=True):
        for what in ("key", "iv"):
            sealed = bytes.fromhex(root.findtext(f"image/{reader}_encrypted_{what}") or "")
            # pkeyutl's own padding is PKCS #1 v1.5.
            decrypt = ("openssl", "pkeyutl", "-decrypt", "-inkey", identity.key_path)
            secrets[reader, what] = run(*decrypt, stdin=sealed).decode()
    names = [part.text or "" for part in root.iterfind("image/parts/part/filename")]
    blobs = tuple((material.bundle.folder / name).read_bytes() for name in names)
    words = ("openssl", "enc", "-d", "-aes-128-cbc", "-K", secrets["user", "key"])
    packed = run(*words, "-iv", secrets["user", "iv"], stdin=b"".join(blobs))
    return Apart(material, content, root, secrets, blobs, run("gzip", "-d", stdin=packed))


def test_the_pipeline_turned_round_gives_the_image(apart: Apart, tmp_path: Path) -> None:
    run("tar", "-xSf", "-", "-C", tmp_path, stdin=apart.stream)
    assert (tmp_path / "image").read_bytes() == apart.material.image.read_bytes()


def test_the_digest_is_of_the_whole_tar_stream_in_its_records(apart: Apart) -> None:
    assert hashlib.sha1(apart.stream).hexdigest() == apart.text("image/digest")
    assert len(apart.stream) % 10240 == 0


def test_the_tar_holds_one_member_in_gnus_format_of_type_s_where_there_are_holes(
    apart: Apart,
) -> None:
    assert run("tar", "-tf", "-", stdin=apart.stream) == b"image\n"
    status = apart.material.image.stat()
    has_holes = status.st_blocks * 512 < status.st_size
    assert apart.stream[156:157] == (b"S" if has_holes else b"0")
    assert apart.stream[257:265] == b"ustar  \0"
    listed = run("tar", "--numeric-owner", "-tvf", "-", stdin=apart.stream)
    assert b" 0/0 " in listed


def test_both_readers_open_the_same_32_lower_case_hexadecimal_digits(apart: Apart) -> None:
    for what in ("key", "iv"):
        assert apart.secrets["user", what] == apart.secrets["ec2", what]
        assert re.fullmatch("[0-9a-f]{32}", apart.secrets["user", what])
        for reader in READERS:
            sealed = apart.text(f"image/{reader}_encrypted_{what}")
            assert re.fullmatch("[0-9a-f]{512}", sealed)  # an RSA key of 2048 bits


def test_parts_are_named_by_the_digits_of_their_count(apart: Apart) -> None:
    count = len(apart.blobs)
    names = [part.text for part in apart.root.iterfind("image/parts/part/filename")]
    digits = len(str(count))
    assert names == [f"image.part.{index:0{digits}d}" for index in range(count)]


def test_parts_have_10_mebibytes_but_the_last(apart: Apart) -> None:
    assert all(len(blob) == 10 * MIB for blob in apart.blobs[:-1])
    assert 0 < len(apart.blobs[-1]) <= 10 * MIB


def test_sizes_are_of_the_image_and_of_the_parts_and_digests_of_encrypted_parts(
    apart: Apart,
) -> None:
    assert int(apart.text("image/size")) == apart.material.image.stat().st_size
    assert int(apart.text("image/bundled_size")) == sum(map(len, apart.blobs))
    digests = [part.text for part in apart.root.iterfind("image/parts/part/digest")]
    assert digests == [hashlib.sha1(blob).hexdigest() for blob in apart.blobs]


def test_the_signature_is_over_machine_configuration_and_image_and_nothing_between(
    apart: Apart, tmp_path: Path
) -> None:
    start = apart.content.index(b"<machine_configuration>")
    end = apart.content.index(b"</image>") + len(b"</image>")
    assert b"</machine_configuration><image>" in apart.content[start:end]
    certificate = apart.material.user.certificate_path
    public = run("openssl", "x509", "-in", certificate, "-noout", "-pubkey")
    files = {
        "public": public,
        "signed": apart.content[start:end],
        "signature": bytes.fromhex(apart.text("signature")),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    words = ("openssl", "dgst", "-sha1", "-verify", tmp_path / "public", "-signature")
    assert run(*words, tmp_path / "signature", tmp_path / "signed") == b"Verified OK\n"


def test_the_manifest_is_compact_and_has_single_quotes(apart: Apart) -> None:
    begin = b"<?xml version='1.0'?><manifest><version>2007-10-10</version><bundler>"
    assert apart.content.startswith(begin)
    assert b'"' not in apart.content
    assert re.search(rb">\s+<", apart.content) is None
    assert apart.content.endswith(b"</signature></manifest>")


def test_elements_stand_in_the_order_that_ec2_checks(apart: Apart) -> None:
    assert apart.children(".") == [
        "version",
        "bundler",
        "machine_configuration",
        "image",
        "signature",
    ]
    assert apart.children("bundler") == ["name", "version", "release"]
    machine = ["architecture", "block_device_mapping", "kernel_id", "ramdisk_id", "product_codes"]
    assert apart.children("machine_configuration") == machine
    image = "name user type digest size bundled_size ec2_encrypted_key user_encrypted_key"
    rest = "ec2_encrypted_iv user_encrypted_iv parts"
    assert apart.children("image") == [*image.split(), *rest.split()]
    assert {tuple(child.tag for child in part) for part in apart.root.iterfind(".//part")} == {
        ("filename", "digest")
    }


def test_mappings_are_sorted_by_their_virtual_device(apart: Apart) -> None:
    place = "machine_configuration/block_device_mapping"
    mappings = apart.root.findall(f"{place}/mapping")
    assert {tuple(child.tag for child in one) for one in mappings} == {("virtual", "device")}
    virtual = [one.findtext("virtual") for one in mappings]
    assert virtual == ["ami", "ephemeral0", "root"]


def test_attributes_are_those_of_the_original_and_no_others(apart: Apart) -> None:
    found = {element.tag: set(element.attrib) for element in apart.root.iter() if element.attrib}
    assert found == {
        "digest": {"algorithm"},
        "ec2_encrypted_key": {"algorithm"},
        "user_encrypted_key": {"algorithm"},
        "parts": {"count"},
        "part": {"index"},
    }
    algorithms = {one.tag: one.get("algorithm") for one in apart.root.iterfind(".//*[@algorithm]")}
    assert algorithms == {
        "digest": "SHA1",
        "ec2_encrypted_key": "AES-128-CBC",
        "user_encrypted_key": "AES-128-CBC",
    }
    assert apart.root.find(f"image/parts[@count='{len(apart.blobs)}']") is not None
    indexes = [part.get("index") for part in apart.root.iterfind("image/parts/part")]
    assert indexes == [str(index) for index in range(len(apart.blobs))]


def test_the_account_has_twelve_digits_and_the_image_is_a_machine(apart: Apart) -> None:
    assert (apart.text("image/user"), apart.text("image/type")) == (ACCOUNT, "machine")
