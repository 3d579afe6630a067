"""Bundles in S3 as a person reaches them: the guide's lines, our own, and moto in AWS's place."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.bundle_material import ACCOUNT, identity, noise, write_sparse
from tests.s3_serving import served_s3

MIB = 2**20
PROGRAMS = Path(sys.executable).parent
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "never-shown"}


class Desk:
    """A home of its own, and a bundle in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.more: dict[str, str] = {}
        self.user = identity("user", folder / "keys")
        self.ec2 = identity("ec2", folder / "keys")

    def bundle(self, image: Path) -> None:
        keys = ("-k", "keys/user-key.pem", "-c", "keys/user.pem", "--ec2cert", "keys/ec2.pem")
        out = ("-d", "bundle", "-p", "image", "--force")
        self.good("imgforge", "bundle", "create", image, *keys, "-u", ACCOUNT, *out)

    def run(
        self, program: str, *arguments: str | Path, answer: str = ""
    ) -> subprocess.CompletedProcess[str]:
        clean = {name: text for name, text in os.environ.items() if not name.startswith("AWS_")}
        home = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder / "data")}
        done = subprocess.run(
            [sys.executable, PROGRAMS / program, *map(str, arguments)],
            env={**clean, **home, **self.more},
            cwd=self.folder,
            input=answer,
            capture_output=True,
            text=True,
            check=False,
        )
        assert "never-shown" not in done.stdout + done.stderr
        return done

    def good(self, program: str, *arguments: str | Path) -> str:
        done = self.run(program, *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def have_same(self, one: str, other: str) -> bool:
        return (self.folder / one).read_bytes() == (self.folder / other).read_bytes()


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A home with nothing configured in it."""
    return Desk(tmp_path)


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    """Moto's S3, another's idea of what AWS does."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    server.stop()


def test_the_guides_lines_work_against_moto(desk: Desk, moto: str) -> None:
    """Lines 1119, 1355, 1365 and 1754, with paths and ids replaced."""
    (desk.folder / "disk").write_bytes(noise(11 * MIB))
    desk.bundle(desk.folder / "disk")
    desk.more = {"AWS_ENDPOINT_URL": moto}
    keys = ("-a", "AKIAIOSFODNN7EXAMPLE", "-s", "never-shown")
    place = ("-b", "my-s3-bucket/bundle_folder/bundle_name")
    said = desk.good("ec2-upload-bundle", *place, "-m", "bundle/image.manifest.xml", *keys)
    assert "my-s3-bucket/bundle_folder/bundle_name/image.manifest.xml" in said
    (desk.folder / "tmp").mkdir()
    key = ("--privatekey", desk.user.key_path)
    named = ("-m", "image.manifest.xml")
    desk.good("ec2-download-bundle", *place, *named, *keys, *key, "-d", "tmp")
    desk.good("ec2-unbundle", "-m", "tmp/image.manifest.xml", *key, "-d", "tmp")
    assert desk.have_same("disk", "tmp/image")
    said = desk.good("ec2-delete-bundle", *place, *keys, "-p", "image")
    assert said.count("Deleted my-s3-bucket/bundle_folder/bundle_name/image.") == 3
    assert "complete" in desk.good("ec2-delete-bundle", *place, *keys, "-p", "image", "--clear")


def test_what_is_bundled_uploaded_downloaded_and_extracted_is_the_same(desk: Desk) -> None:
    """Of images of other kinds, test_bundle_command.py."""
    data = {MIB: noise(2 * MIB), 30 * MIB: b"x" * MIB, 63 * MIB: noise(MIB, seed=3)}
    write_sparse(desk.folder / "disk", size_bytes=64 * MIB, data=data)
    desk.bundle(desk.folder / "disk")
    upload = ("imgforge", "bundle", "upload", "bundle/image.manifest.xml", "some-bucket/a")
    told = json.loads(desk.good(*upload, "--json"))
    assert told["image_location"] == "some-bucket/a/image.manifest.xml"
    desk.good("imgforge", "bundle", "download", told["manifest"], "-d", "back")
    key = ("-k", desk.user.key_path)
    desk.good("imgforge", "bundle", "extract", "back/image.manifest.xml", *key, "-o", "again")
    assert desk.have_same("disk", "again")


def test_what_is_uploaded_is_where_the_aws_cli_looks_for_it(desk: Desk) -> None:
    (desk.folder / "disk").write_bytes(noise(11 * MIB))
    desk.bundle(desk.folder / "disk")
    with served_s3(desk.folder / "s3") as served:
        desk.more = {**KEYS, "AWS_ENDPOINT_URL_S3": served.url, "AWS_DEFAULT_REGION": "eu-west-1"}
        desk.good("imgforge", "bundle", "upload", "bundle/image.manifest.xml", "some-bucket/a")
        desk.good("aws", "s3", "cp", "--recursive", "s3://some-bucket/a", "fetched")
        names = {path.name for path in (desk.folder / "bundle").iterdir()}
        assert {path.name for path in (desk.folder / "fetched").iterdir()} == names
        assert all(desk.have_same(f"bundle/{name}", f"fetched/{name}") for name in names)
        located = desk.good("aws", "s3api", "get-bucket-location", "--bucket", "some-bucket")
        assert "eu-west-1" in located
        desk.good("aws", "s3", "cp", "--recursive", "bundle", "s3://some-bucket/theirs")
        desk.good("imgforge", "bundle", "download", "s3://some-bucket/theirs", "-d", "back")
        assert all(desk.have_same(f"bundle/{name}", f"back/{name}") for name in names)
        elsewhere = ("some-bucket/a", "--region", "us-west-2")
        done = desk.run("imgforge", "bundle", "upload", "bundle/image.manifest.xml", *elsewhere)
        assert done.returncode == 4
        assert "is in eu-west-1; this upload goes to us-west-2" in done.stderr
        assert "--region eu-west-1" in done.stderr


def test_deleting_asks_and_dry_run_deletes_nothing(desk: Desk) -> None:
    (desk.folder / "disk").write_bytes(b"!")
    desk.bundle(desk.folder / "disk")
    desk.good("imgforge", "bundle", "upload", "bundle/image.manifest.xml", "some-bucket")
    delete = ("imgforge", "bundle", "delete", "some-bucket")
    done = desk.run(*delete)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--yes" in done.stderr
    keys = ["image.part.0", "image.manifest.xml"]
    shown = json.loads(desk.good(*delete, "--dry-run", "--json"))
    assert (shown["keys"], shown["dry_run"]) == (keys, True)
    done = json.loads(desk.good(*delete, "--yes", "--clear", "--json"))
    assert (done["keys"], done["bucket_deleted"]) == (keys, True)
    again = desk.run(*delete, "--yes", "--name", "image")
    assert (again.returncode, again.stdout) == (0, "")
    assert "nothing of this bundle is there" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("Bad_Bucket/a",), "lower-case letters"),
        (("some-bucket/../a",), "has . or .. in it"),
        (("some-bucket", "--region", "nowhere!"), "is no region's name"),
        (("some-bucket", "--acl", "everybody"), "there are aws-exec-read"),
        (("some-bucket", "--url", "ftp://x"), "is no URL of http"),
        (("some-bucket", "--profile", "absent"), "absent"),
    ],
)
def test_bad_input_is_told_before_anything_is_sent(
    desk: Desk, arguments: tuple[str, ...], words: str
) -> None:
    (desk.folder / "disk").write_bytes(b"!")
    desk.bundle(desk.folder / "disk")
    upload = ("imgforge", "bundle", "upload", "bundle/image.manifest.xml")
    done = desk.run(*upload, *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr


def test_without_credentials_it_is_told_what_is_missing(desk: Desk) -> None:
    (desk.folder / "disk").write_bytes(b"!")
    desk.bundle(desk.folder / "disk")
    desk.more = {"AWS_EC2_METADATA_DISABLED": "true", "AWS_ENDPOINT_URL": "http://127.0.0.1:9"}
    done = desk.run("imgforge", "bundle", "upload", "bundle/image.manifest.xml", "some-bucket")
    assert done.returncode == 4
    assert "there are no credentials" in done.stderr
    half = desk.run("ec2-delete-bundle", "-b", "some-bucket", "-p", "image", "-a", "test")
    assert half.returncode == 1
    assert "needs its secret key" in half.stderr


def test_nobody_at_the_endpoint_is_the_hosts_failure(desk: Desk) -> None:
    (desk.folder / "disk").write_bytes(b"!")
    desk.bundle(desk.folder / "disk")
    desk.more = {**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}
    done = desk.run("imgforge", "bundle", "upload", "bundle/image.manifest.xml", "some-bucket")
    assert done.returncode == 3
    assert "does not answer" in done.stderr
