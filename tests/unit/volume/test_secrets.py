"""The filter: what the AMI tools' has, what it forgets, and what only looks like a secret."""

import random

import pytest

from imgforge.volume.content import Content
from imgforge.volume.secrets import Secret, hidden, suspect

BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj\n"


def pem(label: str) -> bytes:
    return f"-----BEGIN {label}-----\n{BODY}-----END {label}-----\n".encode()


def is_left_out(path: str, content: bytes = b"") -> bool:
    """Tell what becomes of a file of this name and content."""
    found, seen = suspect(path), Content.of(content)
    if found is not None:
        return found.clears is None or not found.clears(seen)
    return hidden(path, seen) is not None


def is_public_openpgp(data: bytes) -> bool:
    return Content.of(data).is_public_openpgp


@pytest.mark.parametrize(
    "path",
    [
        *("srv/#x#", "srv/.#x", "a.sw", "a/b.swo", "a/.b.swp", "home/x~", "home/x.pem", "a.priv"),
        *("home/u/.ssh/id_rsa", "home/my_id_rsa.old", "home/id_dsa.pub", "a.gpg", "a.jks"),
        *("root/.ssh/authorized_keys", "root/.bash_history", "usr/x.swp", "usr/share/x~"),
    ],
)
def test_what_the_original_leaves_out_is_left_out(path: str) -> None:
    assert is_left_out(path)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("root/.ssh/id_ed25519", Secret.PRIVATE_KEY),
        ("root/.ssh/id_ed25519_sk", Secret.PRIVATE_KEY),
        ("root/.ssh/id_ecdsa", Secret.PRIVATE_KEY),
        ("root/.ssh/id_ecdsa_sk.pub", Secret.PRIVATE_KEY),
        ("etc/ssh/ssh_host_ed25519_key", Secret.PRIVATE_KEY),
        ("etc/dropbear/dropbear_rsa_host_key", Secret.PRIVATE_KEY),
        ("etc/krb5.keytab", Secret.PRIVATE_KEY),
        ("home/a/x.p12", Secret.PRIVATE_KEY),
        ("home/a/.gnupg/private-keys-v1.d", Secret.PRIVATE_KEY),
        (".ssh/authorized_keys", Secret.LOGIN_KEY),
        ("home/a/.ssh/authorized_keys2", Secret.LOGIN_KEY),
        *((f"home/a/{name}", Secret.CREDENTIALS) for name in (
            ".aws/credentials", ".aws/sso/cache", ".config/gcloud", ".azure", ".boto", ".s3cfg",
            ".netrc", ".git-credentials", ".docker/config.json", ".kube/config", ".pgpass",
            ".vault-token", ".config/gh/hosts.yml", ".oci", ".pypirc", ".passwd-s3fs",
        )),
        *((f"root/{name}", Secret.HISTORY) for name in (
            ".zsh_history", ".zhistory", ".histfile", ".history", ".sh_history", ".ash_history",
            ".mksh_history", ".ksh_history", ".local/share/fish/fish_history", ".python_history",
            ".config/fish/fish_history", ".mysql_history", ".mariadb_history", ".psql_history",
            ".sqlite_history", ".node_repl_history", ".rediscli_history", ".irb_history",
            ".lesshst", ".viminfo", ".local/share/nushell/history.txt", ".Rhistory",
            ".ipython/profile_default/history.sqlite", ".dbshell", ".octave_hist",
            ".local/share/xonsh/xonsh-history.sqlite",
        )),
        (".bash_history", Secret.HISTORY),
    ],
)  # fmt: skip
def test_what_the_original_forgets_is_left_out(path: str, kind: Secret) -> None:
    found = suspect(path)
    assert found is not None
    assert (found.kind, found.clears) == (kind, None)


@pytest.mark.parametrize(
    "path",
    [
        *("etc/passwd", ".profile", "root/.bashrc", "etc/ssh/sshd_config", "usr/bin/fish"),
        *("root/.ssh/known_hosts", "root/.ssh/config", "usr/share/doc/id_ed25519.txt"),
        *("root/.aws/models", "root/.azurelike", "etc/ssh/ssh_host_rsa_key.pub", "swim", "a.swx"),
        *("usr/lib/python3/test/keycert.p12", "srv/historys", "etc/aws/credentials", "xid_rs"),
    ],
)
def test_what_is_no_secret_stays(path: str) -> None:
    assert not is_left_out(path, b"anything")


@pytest.mark.parametrize(
    "label",
    ["PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY",
     "EC PRIVATE KEY", "DSA PRIVATE KEY", "PGP PRIVATE KEY BLOCK"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["srv/tls.key", "etc/ssl/private/mine", "home/a/notes.txt"])
def test_a_private_key_is_known_by_its_content(path: str, label: str) -> None:
    assert is_left_out(path, pem(label))
    assert is_left_out(path, pem("CERTIFICATE") + pem(label).replace(b"\n", b"\r\n"))


def test_other_forms_of_private_keys_are_known() -> None:
    assert is_left_out("srv/a.key", bytes.fromhex("308204a40201000282010100") + b"x" * 900)
    assert is_left_out("srv/a.der", bytes.fromhex("30770201010420") + b"x" * 90)
    assert is_left_out("root/keys.txt", b"# age\nAGE-SECRET-KEY-1QQPQ2\nX")
    assert is_left_out("root/putty", b"PuTTY-User-Key-File-3: ssh-ed25519\n")
    assert is_left_out("root/x", b"---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\nP2/56wAA\n")


def test_what_only_speaks_of_private_keys_stays() -> None:
    assert not is_left_out("srv/public.key", pem("PUBLIC KEY"))
    assert not is_left_out("etc/apt/trusted.key", pem("PGP PUBLIC KEY BLOCK"))
    assert not is_left_out("home/a/x.py", b'print("-----BEGIN PRIVATE KEY-----\\n")\n')
    assert not is_left_out("home/a/readme", b"look for -----BEGIN PRIVATE KEY----- in it\n")
    assert not is_left_out("usr/lib/python3/test/ssl_key", pem("PRIVATE KEY"))
    assert is_left_out("usr/local/etc/ssl_key", pem("PRIVATE KEY"))


def test_settings_are_left_out_where_they_hold_a_password() -> None:
    assert is_left_out("root/.npmrc", b"//registry/:_authToken=npm_x\n")
    assert not is_left_out("root/.npmrc", b"fund=false\n")
    assert is_left_out("root/.aws/config", b"aws_secret_access_key = x\n")
    assert not is_left_out("root/.aws/config", b"[default]\nregion = eu-west-1\n")
    assert is_left_out(".my.cnf", b"[client]\npassword=x\n")
    assert not is_left_out("root/x.npmrc", b"_auth")


def test_certificates_that_a_machine_trusts_stay() -> None:
    bundle = pem("CERTIFICATE") * 150
    assert not is_left_out("etc/ssl/certs/ca.pem", bundle)
    assert not is_left_out("usr/lib/ssl/cert.pem", b"# Mozilla\n" + bundle)
    assert is_left_out("etc/ssl/certs/both.pem", bundle + pem("RSA PRIVATE KEY"))
    assert is_left_out("home/a/cert.pem", bundle)  # as the original
    assert is_left_out("etc/x.pem", b"no PEM at all")
    assert is_left_out("etc/x.pem", pem("SOMETHING"))


def packet(tag: int, body: bytes, *, new: bool = False) -> bytes:
    if new:
        return bytes([0xC0 | tag, 255]) + len(body).to_bytes(4, "big") + body
    return bytes([0x80 | tag << 2 | 1]) + len(body).to_bytes(2, "big") + body


PUBLIC = packet(6, b"key") + packet(13, b"me") + packet(2, b"sig") + packet(14, b"sub", new=True)


def test_public_keyrings_stay_and_secret_ones_do_not() -> None:
    assert is_public_openpgp(PUBLIC * 3)
    assert is_public_openpgp(b"\n" + pem("PGP PUBLIC KEY BLOCK"))
    assert not is_left_out("usr/share/keyrings/debian.gpg", PUBLIC)
    assert is_left_out("home/a/pubring.gpg", PUBLIC)
    for secret in (packet(5, b"key"), packet(7, b"sub"), packet(5, b"key", new=True)):
        assert not is_public_openpgp(PUBLIC + secret)
        assert is_left_out("etc/apt/trusted.gpg", PUBLIC + secret)
    for other in (b"", b"text", packet(13, b"me"), PUBLIC[:-1], b"\x9b" + PUBLIC, b"\xc6\xe1x"):
        assert not is_public_openpgp(other)


def test_no_bytes_break_the_readers_of_content() -> None:
    noise = random.Random(5)
    for _ in range(3000):
        data = bytearray(PUBLIC)
        for _ in range(noise.randint(1, 4)):
            data[noise.randrange(len(data))] = noise.randrange(256)
        is_public_openpgp(bytes(data[: noise.randint(0, len(data))]))
        seen = Content.of(noise.randbytes(noise.randint(0, 300)))
        assert not seen.has_private_key
        seen.forget()


@pytest.mark.parametrize("name", ["a\nb", "\udcff", "ü", "*", "[", "\\", " ", "a" * 255])
def test_odd_names_are_no_trouble(name: str) -> None:
    assert suspect(f"x/{name}/y") is None
    assert suspect(f"{name}/.ssh/id_rsa") is not None
    assert suspect(f"x/{name}.pem") is not None
