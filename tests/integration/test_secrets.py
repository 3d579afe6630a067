"""Keys, session tokens and KMS's plaintext are never told: not in errors, logs or process lists.

Commands run with --debug, whose tracebacks show the most, against endpoints that refuse them.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.serving import ACCOUNT, Serving, make_snapshot, register
from tests.watched import watched

SECRET_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
TOKEN = "FwoGZXIvYXdzEXAMPLETOKENthatNobodyMaySee"
PLAINTEXT = "what is encrypted with the key of somebody"
SECRETS = (SECRET_KEY, TOKEN, PLAINTEXT, base64.b64encode(PLAINTEXT.encode()).decode())
CODES = {"": 0, "denied": 4, "expired": 4, "cut": 3}
"""What a command ends with where the endpoint gets everything wrong in such a way."""


@dataclass(frozen=True)
class Place:
    """An endpoint, what is wrong with it, and a folder with a disk."""

    serving: Serving
    fault: str
    folder: Path
    image_id: str


@pytest.fixture(scope="module", params=list(CODES))
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """An endpoint with an image, which then gets all wrong in one way."""
    folder = tmp_path_factory.mktemp("serve")
    options = ("--latency", "0s")
    with Serving(folder / "catalog", *options) as serving:
        image_id = register(serving.client(), "the image", make_snapshot(serving.client()))
    (folder / "disk.raw").write_bytes(b"\1" * 2**20)
    fault = ("--fault", request.param) if request.param else ()
    with Serving(folder / "catalog", *options, *fault) as serving:
        yield Place(serving, request.param, folder, image_id)


def environment(place: Place) -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": str(place.folder),
        "AWS_ENDPOINT_URL": place.serving.url,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_SESSION_TOKEN": TOKEN,
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_MAX_ATTEMPTS": "1",
    }


@pytest.mark.parametrize(
    "line",
    [
        "images show IMAGE",
        "images copy IMAGE --to eu-west-1 --name another",
        "images share IMAGE --account 111122223333",
        "snapshots upload DISK",
    ],
)
def test_no_command_tells_a_secret(place: Place, line: str) -> None:
    known = {"IMAGE": place.image_id, "DISK": str(place.folder / "disk.raw")}
    words = [known.get(word, word) for word in line.split()]
    ran = watched(["--debug", *words], environment=environment(place), folder=place.folder)
    assert ran.code == CODES[place.fault], ran.said
    for secret in SECRETS:
        assert secret not in ran.said
        assert secret not in ran.listed


def test_the_endpoint_tells_none_of_what_it_is_sent(tmp_path: Path) -> None:
    with Serving(tmp_path / "catalog", "--latency", "0s") as serving:
        kms = serving.client("kms")
        key_id = kms.create_key()["KeyMetadata"]["KeyId"]
        sealed = kms.encrypt(KeyId=key_id, Plaintext=PLAINTEXT.encode())["CiphertextBlob"]
        opened = kms.decrypt(KeyId=key_id, CiphertextBlob=sealed)["Plaintext"]
        assert opened == PLAINTEXT.encode()
        data_key = kms.generate_data_key(KeyId=key_id, KeySpec="AES_256")["Plaintext"]
        said = serving.end()
    for secret in (*SECRETS, "secret", base64.b64encode(data_key).decode()):
        assert secret not in said
