"""Each command that is given a secret keeps it: in no output, no process list, no file it leaves.

The secrets come as people have them: credentials in a profile's files, session tokens, passwords in
the URLs of endpoints and proxies, private keys, user data.
"""

import base64
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
import requests
from botocore.config import Config

from tests.bundle_material import ACCOUNT as BUNDLER
from tests.bundle_material import make_material, noise
from tests.registering import make_disk
from tests.serving import ACCOUNT, Serving, make_snapshot, register
from tests.watched import Watched, watched

SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLETOKENthatNobodyMaySee"
PASSWORD = "CorrectHorseBatteryStaple"
DATABASE = "postgres-password-of-user-data"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Home:
    """A user's home with a profile, a disk, a bundle and its key; and who answers."""

    folder: Path
    url: str
    image_id: str
    snapshot_id: str

    @property
    def environment(self) -> dict[str, str]:
        return {"PATH": PATH, "HOME": str(self.folder), "AWS_MAX_ATTEMPTS": "1"}

    @property
    def key_lines(self) -> list[str]:
        """Lines of the private key, of which none may be anywhere else."""
        key = self.folder / "keys" / "user-key.pem"
        return [line for line in key.read_text().splitlines() if len(line) == 64]

    def run(self, *words: str, **more: str) -> Watched:
        """Run a command with the profile's credentials."""
        known = {"IMAGE": self.image_id, "SNAP": self.snapshot_id, "URL": self.url}
        typed = [known.get(word, word) for word in words]
        environment = {**self.environment, **more}
        return watched(["--debug", *typed], environment=environment, folder=self.folder)

    def assert_kept(self, ran: Watched) -> None:
        """Assert that no secret is in what a command said, in process lists, or in new files."""
        for secret in (SECRET_KEY, TOKEN, PASSWORD, DATABASE, *self.key_lines):
            assert secret not in ran.said
            assert secret not in ran.listed
        for path in self.folder.rglob("*"):
            given = path.is_relative_to(self.folder / ".aws") or path.parent.name == "keys"
            if not path.is_file() or given or path.name in {"user-data.sh", "seed.iso"}:
                continue
            content = path.read_bytes()
            for secret in (SECRET_KEY, TOKEN, PASSWORD, DATABASE, *self.key_lines):
                assert secret.encode() not in content, path


def make_home(folder: Path, serving: Serving) -> Home:
    ec2 = serving.client()
    snapshot_id = make_snapshot(ec2)
    image_id = register(ec2, "the image", snapshot_id)
    make_disk(folder / "disk.raw", size_mib=4)
    (folder / "image").write_bytes(noise(2**18))
    make_material(folder, folder / "image")
    (folder / "user-data.sh").write_text(f"#!/bin/sh\nPGPASSWORD={DATABASE} backup\n")
    aws = folder / ".aws"
    aws.mkdir()
    (aws / "credentials").write_text(
        f"[work]\naws_access_key_id = {ACCOUNT}\naws_secret_access_key = {SECRET_KEY}\n"
        f"aws_session_token = {TOKEN}\n"
    )
    (aws / "config").write_text("[profile work]\nregion = us-east-1\n")
    return Home(folder, serving.url, image_id, snapshot_id)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("home")
    catalog = tmp_path_factory.mktemp("serve") / "catalog"
    with Serving(catalog, "--latency", "0s") as serving:
        yield make_home(folder, serving)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """All that the commands ask for is refused: what they say then is the most."""
    folder = tmp_path_factory.mktemp("home")
    catalog = tmp_path_factory.mktemp("serve") / "catalog"
    with Serving(catalog, "--latency", "0s") as serving:
        home = make_home(folder, serving)
    with Serving(catalog, "--fault", "denied") as serving:
        yield Home(folder, serving.url, home.image_id, home.snapshot_id)


ASKING = [
    "images find --owner self",
    "images gc --dry-run",
    "images deregister IMAGE",
    "publish IMAGE --unverified --to eu-west-1",
    "register disk.raw --name another --unverified",
    "register --manifest a-bucket/x.manifest.xml --name another --unverified",
    "launch IMAGE --user-data user-data.sh",
    "snapshots copy SNAP --to eu-west-1",
    "snapshots download SNAP -o back.raw",
    "bundle upload image.bundle/image.manifest.xml a-bucket",
    "bundle download a-bucket/image.manifest.xml --out there -k keys/user-key.pem",
    "convert s3://a-bucket/image.manifest.xml --to ebs --key keys/user-key.pem",
]


@pytest.mark.parametrize("line", ASKING)
def test_a_command_that_is_refused_tells_no_secret_of_a_profile(refusing: Home, line: str) -> None:
    ran = refusing.run(*line.split(), "--profile", "work", "--url", refusing.url)
    assert ran.code in {2, 4}, ran.said
    refusing.assert_kept(ran)


@pytest.mark.parametrize(
    "line",
    [
        "images tag IMAGE a=b",
        "register disk.raw --name another --unverified",
        "snapshots download SNAP -o back.raw",
    ],
)
def test_a_command_that_ends_well_leaves_no_secret(served: Home, line: str) -> None:
    ran = served.run(*line.split(), "--profile", "work", "--url", served.url)
    assert ran.code == 0, ran.said
    served.assert_kept(ran)


@pytest.mark.parametrize("variable", ["", "_EC2", "_EBS", "_S3"])
@pytest.mark.parametrize(
    "url",
    [
        "http://somebody:{}@127.0.0.1:9",
        "http://{}@127.0.0.1:9",
        "somebody:{}@127.0.0.1",
        "http://somebody:{}@",
    ],
)
def test_a_password_in_an_endpoints_url_is_refused_and_not_shown(
    served: Home, variable: str, url: str
) -> None:
    line = {"_EBS": "snapshots upload disk.raw", "_S3": "bundle upload image.manifest.xml b"}
    words = line.get(variable, "images").split()
    if variable == "_S3":
        words[2] = "image.bundle/image.manifest.xml"
    given = {"AWS_ENDPOINT_URL" + variable: url.format(PASSWORD), "AWS_PROFILE": "work"}
    if variable == "_EBS":
        given["AWS_ENDPOINT_URL"] = served.url
    ran = served.run(*words, **given)
    assert ran.code == 2, ran.said
    served.assert_kept(ran)
    ran = served.run("images", "--url", url.format(PASSWORD))
    # What a person types is in the list of processes: it is theirs to know.
    assert ran.code == 2, ran.said
    assert PASSWORD not in ran.said


@pytest.mark.parametrize("variable", ["HTTP_PROXY", "http_proxy"])
def test_a_password_in_a_proxys_url_is_not_shown(served: Home, variable: str) -> None:
    proxy = {variable: f"http://somebody:{PASSWORD}@127.0.0.1:9", "AWS_PROFILE": "work"}
    for words in (("images",), ("snapshots", "upload", "disk.raw", "--new")):
        ran = served.run(*words, "--url", "http://an-endpoint.invalid:1", **proxy)
        assert ran.code == 3, ran.said
        served.assert_kept(ran)


@pytest.mark.parametrize(
    "line",
    [
        "bundle create disk.raw -k keys/user-key.pem -c keys/user-cert.pem -u ACCOUNT --out made",
        "bundle verify image.bundle/image.manifest.xml -k keys/user-key.pem",
        "bundle extract image.bundle/image.manifest.xml -k keys/user-key.pem -o back.img",
        "bundle create disk.raw -k keys/user-key.pem -c no.pem -u ACCOUNT --out made2",
    ],
)
def test_a_private_key_stays_in_its_file(served: Home, line: str) -> None:
    assert served.key_lines
    ran = served.run(*[BUNDLER if word == "ACCOUNT" else word for word in line.split()])
    assert ran.code in {0, 2}, ran.said
    served.assert_kept(ran)


def test_a_seed_with_user_data_is_its_owners_alone(served: Home) -> None:
    old = os.umask(0o022)
    try:
        ran = served.run("seed", "--user-data", "user-data.sh", "-o", "seed.iso")
    finally:
        os.umask(old)
    assert ran.code == 0, ran.said
    served.assert_kept(ran)
    mode = stat.S_IMODE((served.folder / "seed.iso").stat().st_mode)
    assert mode & 0o077 == 0, oct(mode)


def test_the_endpoint_tells_nothing_of_a_presigned_url(tmp_path: Path) -> None:
    with Serving(tmp_path / "catalog", "--latency", "0s") as serving:
        s3 = serving.client("s3")
        s3.create_bucket(Bucket="a-bucket")
        s3.put_object(Bucket="a-bucket", Key="k", Body=b"x")
        asked = {"Bucket": "a-bucket", "Key": "k"}
        signer = boto3.client(
            "s3",
            region_name="us-east-1",
            endpoint_url=serving.url,
            aws_access_key_id=ACCOUNT,
            aws_secret_access_key=SECRET_KEY,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        good = signer.generate_presigned_url("get_object", Params=asked)
        assert requests.get(good, timeout=30).content == b"x"
        signature = good.partition("Signature=")[2].partition("&")[0]
        assert signature
        told = [
            requests.get(good.replace("/k?", "/none?"), timeout=30).text,
            requests.get(good.replace("Signature=", "Signatur="), timeout=30).text,
            requests.post(serving.url, data={"Action": "X", "Password": PASSWORD}, timeout=30).text,
        ]
        ec2 = serving.client()
        with pytest.raises(Exception, match="An error") as caught:
            ec2.import_snapshot(DiskContainer={"Url": good.replace("/k?", "/none?")})
        told += [str(caught.value), serving.end()]
    for text in told:
        assert signature not in text
        assert PASSWORD not in text
        assert base64.b64encode(PASSWORD.encode()).decode() not in text
