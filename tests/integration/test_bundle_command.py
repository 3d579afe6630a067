"""`imgforge bundle`, `imgforge certificate` and the ec2-… tools, as a person runs them."""

import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.bundle_desk import KEYS, MIB, Desk
from tests.bundle_material import ACCOUNT, noise, write_sparse


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_a_bundle_goes_there_and_back_by_imgforges_own_commands(desk: Desk) -> None:
    made = desk.create("--json")
    assert made.returncode == 0, made.stderr
    values = json.loads(made.stdout)
    manifest = values["manifest"]
    assert manifest == "image.bundle/image.manifest.xml"
    assert values["size_bytes"] == 64 * MIB
    shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
    assert (shown["name"], shown["account"]) == ("image", "123456789012")
    verify = ("imgforge", "bundle", "verify", manifest, *KEYS, "--json")
    assert json.loads(desk.good(*verify))["good"] is True
    edit = ("imgforge", "bundle", "edit", manifest, *KEYS, "-B", "ephemeral1=sdc,ephemeral2=sdd")
    desk.good(*edit)
    shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
    assert shown["block_device_mapping"] == {"ephemeral1": "sdc", "ephemeral2": "sdd"}
    assert json.loads(desk.good(*verify))["good"] is True
    extract = ("imgforge", "bundle", "extract", manifest, "--key", "private-key.pem", "-o", "back")
    desk.good(*extract)
    assert subprocess.run(["cmp", "image", "back"], cwd=desk.folder, check=False).returncode == 0
    again = desk.run(*extract)
    assert again.returncode == 2
    assert "already exists" in again.stderr
    desk.good(*extract, "--force")
    (desk.folder / "back").unlink()
    local = ("--ec2-key", "data/imgforge/ec2-bundle/key.pem", "--cert", "certificate.pem")
    desk.good("imgforge", "bundle", "extract", manifest, *local, "-o", "back")
    assert subprocess.run(["cmp", "image", "back"], cwd=desk.folder, check=False).returncode == 0


@pytest.mark.parametrize(
    ("size_bytes", "data"),
    [(50 * MIB, {}), (21 * MIB + 17, {0: noise(21 * MIB + 17)}), (1, {0: b"x"})],
    ids=["only holes", "random bytes", "one byte"],
)
def test_an_image_of_any_kind_goes_to_s3_and_comes_back(
    desk: Desk, size_bytes: int, data: dict[int, bytes]
) -> None:
    image = write_sparse(desk.folder / "image", size_bytes=size_bytes, data=data)
    assert desk.create("--out", "bundle").returncode == 0
    place = ("my-bucket/bundles/image", "--url", "local")
    desk.good("imgforge", "bundle", "upload", "bundle/image.manifest.xml", *place)
    desk.good("imgforge", "bundle", "download", *place, "--out", "there", *KEYS[:2])
    manifest = ("there/image.manifest.xml", "-k", "private-key.pem")
    desk.good("imgforge", "bundle", "extract", *manifest, "-o", "back")
    back = desk.folder / "back"
    assert hashlib.sha256(back.read_bytes()).digest() == hashlib.sha256(image.read_bytes()).digest()
    assert back.stat().st_blocks <= image.stat().st_blocks


def test_a_damaged_bundle_is_exit_code_1_to_verify_and_2_to_extract(desk: Desk) -> None:
    assert desk.create().returncode == 0
    part = desk.folder / "image.bundle" / "image.part.0"
    content = bytearray(part.read_bytes())
    content[1000] ^= 1
    part.write_bytes(content)
    manifest = "image.bundle/image.manifest.xml"
    found = desk.run("imgforge", "bundle", "verify", manifest, *KEYS)
    assert found.returncode == 1
    assert "not good: part-digest" in found.stdout
    done = desk.run(
        "imgforge", "bundle", "extract", manifest, "-k", "private-key.pem", "-o", "back"
    )
    assert done.returncode == 2
    assert "image.part.0" in done.stderr
    assert not (desk.folder / "back").exists()


def test_what_nobody_signed_for_is_not_called_good(desk: Desk) -> None:
    assert desk.create().returncode == 0
    manifest = "image.bundle/image.manifest.xml"
    found = desk.good("imgforge", "bundle", "verify", manifest)
    assert found.endswith("\nnothing wrong found; not checked: signature, account, digest\n")
    values = json.loads(desk.good("imgforge", "bundle", "verify", manifest, "--json"))
    assert values["unchecked"] == ["signature", "account", "digest"]
    found = desk.good("imgforge", "bundle", "verify", manifest, *KEYS)
    assert found.endswith("\ngood; not checked: account\n")
    found = desk.good("imgforge", "bundle", "verify", manifest, *KEYS, "-u", ACCOUNT)
    assert found.endswith("\ngood\n")


def test_what_is_typed_wrongly_is_told_with_the_next_step(desk: Desk) -> None:
    """A folder for an image, another's key, and an option whose variable was empty."""
    signer = (*KEYS, "-u", ACCOUNT)
    tool = ("ec2-bundle-image", "-r", "i386", "-i", ".")
    for command in (("imgforge", "bundle", "create", "."), tool):
        done = desk.run(*command, *signer)
        assert done.returncode in {1, 2}
        assert "Image .: is a folder" in done.stderr
        assert "imgforge bundle volume ." in done.stderr
    assert desk.create().returncode == 0
    manifest = "image.bundle/image.manifest.xml"
    desk.good("imgforge", "certificate", "create", "--key", "k.pem", "--cert", "c.pem")
    done = desk.run("imgforge", "bundle", "extract", manifest, "-k", "k.pem", "-o", "back")
    assert done.returncode == 2
    assert "that it was signed with" in done.stderr
    done = desk.run("ec2-upload-bundle", "-b", "bucket/x", "-m", manifest, "-a", "-s", "secret")
    assert done.returncode == 1
    assert "Option -a: has no value; -s follows it." in done.stderr
    assert "$AWS_ACCESS_KEY" in done.stderr


def test_the_tools_of_the_guide_work_by_their_names(desk: Desk) -> None:
    """The lines of the guide that need no S3, paths and ids replaced."""
    assert "imgforge" in desk.good("ec2-ami-tools-version")
    (desk.folder / "bundle").mkdir()
    flags = ("-u", "1234-5678-9012", "-r", "x86_64", "-i", "image", "-d", "bundle", "-p", "disk")
    codes = ("--productcodes", "A1,B2", "-B", "ami=sda1,root=/dev/sda1")
    desk.good("ec2-bundle-image", *KEYS, *flags, *codes)
    manifest = "bundle/disk.manifest.xml"
    shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
    assert shown["product_codes"] == ["A1", "B2"]
    desk.good("ec2-unbundle", "-m", manifest, "--privatekey", "private-key.pem", "-d", "bundle")
    compared = subprocess.run(["cmp", "image", "bundle/disk"], cwd=desk.folder, check=False)
    assert compared.returncode == 0
    twice = desk.run("ec2-unbundle", "-m", manifest, "-k", "private-key.pem", "-d", "bundle")
    assert twice.returncode == 1
    desk.good("imgforge", "bundle", "edit", manifest, *KEYS, "--kernel", "aki-5c21674b")
    migrate = ("ec2-migrate-manifest", "-m", manifest, *KEYS)
    assert "--region" in desk.run(*migrate).stderr
    assert "eu-central-1" in desk.good(*migrate, "--region", "eu-central-1")
    assert (desk.folder / "bundle" / "disk.manifest.xml.bak").is_file()
    shown = json.loads(desk.good("imgforge", "bundle", "inspect", manifest, "--json"))
    assert shown["kernel_id"] == "aki-931fe3fc"


@pytest.mark.parametrize(
    "tool",
    [
        "ec2-unbundle",
        "ec2-ami-tools-version",
        pytest.param("ec2-bundle-image", marks=pytest.mark.slow),
        pytest.param("ec2-migrate-manifest", marks=pytest.mark.slow),
    ],
)
def test_each_tool_has_its_help_and_ends_with_1_for_bad_flags(desk: Desk, tool: str) -> None:
    assert tool in desk.good(tool, "--help")
    assert "imgforge" in desk.good(tool, "--version")
    assert desk.run(tool, "--nonsense").returncode == 1


def test_a_bundle_that_is_there_is_replaced_only_by_force(desk: Desk) -> None:
    assert desk.create().returncode == 0
    refused = desk.create()
    assert refused.returncode == 2
    assert "already holds" in refused.stderr
    (desk.folder / "image.bundle" / "image.part.77").write_bytes(b"of an older one")
    assert desk.create("--force").returncode == 0
    names = sorted(path.name for path in (desk.folder / "image.bundle").iterdir())
    assert names == ["image.manifest.xml", "image.part.0", "image.part.1"]


@pytest.mark.parametrize("name", ["image.part.0", "image.manifest.xml"])
def test_a_bundle_is_not_extracted_over_itself(desk: Desk, name: str) -> None:
    assert desk.create().returncode == 0
    bundle = desk.folder / "image.bundle"
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    words = ("image.bundle/image.manifest.xml", "--key", "private-key.pem")
    over = ("-o", f"image.bundle/../image.bundle/{name}", "--force")
    refused = desk.run("imgforge", "bundle", "extract", *words, *over)
    assert refused.returncode == 2
    assert "is a file of this bundle" in refused.stderr
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-u", "12345"), "twelve digits"),
        (("--name", "../image"), "name"),
        (("--arch", "z80"), "allowed"),
        (("-B", "ephemeral0"), "VIRTUAL=DEVICE"),
        (("--ec2cert", "missing.pem"), "missing.pem"),
        (("--kernel", "vmlinuz"), "aki-"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_any_work(
    desk: Desk, words: tuple[str, str], told: str
) -> None:
    done = desk.create(*words)
    assert done.returncode == 2
    assert told in done.stderr
    assert not (desk.folder / "image.bundle").exists()


@pytest.mark.parametrize("kind", ["empty", "large", "folder", "fifo", "missing"])
def test_an_image_that_cannot_be_bundled_is_refused(desk: Desk, kind: str) -> None:
    image = desk.folder / "image"
    image.unlink()
    match kind:
        case "empty":
            image.touch()
        case "large":
            write_sparse(image, size_bytes=10 * 2**30 + 1, data={})
        case "folder":
            image.mkdir()
        case "fifo":
            os.mkfifo(image)
    done = desk.create()
    assert done.returncode == 2
    assert "Image image" in done.stderr
    assert not (desk.folder / "image.bundle").exists()
