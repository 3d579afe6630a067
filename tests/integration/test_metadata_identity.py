"""The identity document's signatures, checked by openssl, and the key that makes them."""

import base64
import multiprocessing
import stat
import subprocess
from pathlib import Path

import pytest

from imgforge.errors import HostError
from imgforge.identity_key import identity_folder, installation_signer
from imgforge.metadata import Instance, Signer
from imgforge.metadata.answer import HttpRequest, answer
from imgforge.metadata.tokens import Tokens
from imgforge.metadata.tree import grow

INSTANCE = Instance("i-0123456789abcdef0", "ami-0123456789abcdef0")
FOLDER = "/latest/dynamic/instance-identity"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


def fetch(signer: Signer, name: str) -> str:
    reply = answer(HttpRequest("GET", f"{FOLDER}/{name}"), grow(INSTANCE, signer), Tokens(), 0.0)
    assert reply.status == 200
    return reply.body.decode("ascii")


def openssl(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["openssl", *map(str, words)], capture_output=True, text=True, timeout=30, check=False
    )


def as_pem(folder: Path, content: str) -> Path:
    """Write what the guide tells people to: the answer between PEM's first and last line."""
    path = folder / "signed"
    path.write_text(f"-----BEGIN PKCS7-----\n{content}\n-----END PKCS7-----\n", encoding="ascii")
    return path


@pytest.mark.parametrize("name", ["pkcs7", "rsa2048"])
@pytest.mark.parametrize("command", ["smime", "cms"])
def test_openssl_verifies_the_signed_document(home: Path, name: str, command: str) -> None:
    signer = installation_signer()
    certificate = identity_folder() / "certificate.pem"
    signed = as_pem(home, fetch(signer, name))
    out = home / "out"
    words = (command, "-verify", "-binary", "-in", signed, "-inform", "PEM", "-out", out)
    for trust in (("-noverify",), ("-CAfile", certificate)):
        done = openssl(*words, "-certfile", certificate, *trust)
        assert done.returncode == 0, done.stderr
        assert out.read_text() == fetch(signer, "document")
    other = home / "other.pem"
    other.write_bytes(Signer.generate().certificate_pem)
    assert openssl(*words, "-certfile", other, "-noverify").returncode != 0


def test_openssl_verifies_the_signature_of_the_document(home: Path) -> None:
    signer = installation_signer()
    (home / "signature").write_bytes(base64.b64decode(fetch(signer, "signature")))
    (home / "document").write_text(fetch(signer, "document"))
    public = openssl("x509", "-pubkey", "-noout", "-in", identity_folder() / "certificate.pem")
    (home / "public.pem").write_text(public.stdout)
    words = ("dgst", "-sha256", "-verify", home / "public.pem", "-signature", home / "signature")
    assert openssl(*words, home / "document").returncode == 0
    (home / "document").write_text(fetch(signer, "document").replace("us-east-1", "us-east-2"))
    assert openssl(*words, home / "document").returncode != 0


def test_the_key_is_made_once_and_is_its_owners_alone(home: Path) -> None:
    assert installation_signer().key_pem == installation_signer().key_pem
    folder = identity_folder()
    assert folder.is_relative_to(home)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "key.pem").stat().st_mode) == 0o600


def _put_certificate(queue: "multiprocessing.SimpleQueue[bytes]") -> None:
    queue.put(installation_signer().certificate_pem)


def test_processes_that_make_it_at_once_agree(home: Path) -> None:
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    processes = [context.Process(target=_put_certificate, args=(queue,)) for _ in range(4)]
    for process in processes:
        process.start()
    found = {queue.get() for _ in processes}
    for process in processes:
        process.join(30)
    assert len(found) == 1
    assert sorted(path.name for path in identity_folder().parent.iterdir()) == ["instance-identity"]


@pytest.mark.parametrize("content", [b"", b"garbage", b"-----BEGIN PRIVATE KEY-----\n"])
def test_a_broken_key_is_told_and_not_replaced(home: Path, content: bytes) -> None:
    installation_signer()
    key = identity_folder() / "key.pem"
    key.write_bytes(content)
    with pytest.raises(HostError, match="holds no key"):
        installation_signer()
    assert key.read_bytes() == content


def test_the_certificate_of_another_key_is_told(home: Path) -> None:
    installation_signer()
    (identity_folder() / "certificate.pem").write_bytes(Signer.generate().certificate_pem)
    with pytest.raises(HostError, match="another key"):
        installation_signer()


def test_where_nothing_can_be_written_the_key_passes_with_the_process(
    home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (home / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(home / "file"))
    assert installation_signer().certificate_pem == installation_signer().certificate_pem
    assert "cannot be written" in caplog.text


def test_without_a_signer_no_signature_is_listed() -> None:
    trees = grow(INSTANCE)
    listed = answer(HttpRequest("GET", FOLDER), trees, Tokens(), 0.0)
    assert listed.body == b"document"
    assert answer(HttpRequest("GET", f"{FOLDER}/pkcs7"), trees, Tokens(), 0.0).status == 404
