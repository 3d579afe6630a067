"""What a file's content tells, in the forms that keys and credentials are found in."""

import base64
import json
import random

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from imgforge.volume.content import Content
from imgforge.volume.secrets import Secret, hidden, suspect
from tests.unit.volume.test_secrets import BODY, PUBLIC, is_left_out, packet, pem

MIB = 2**20
KEY = pem("RSA PRIVATE KEY").decode()
CERTIFICATE = pem("CERTIFICATE")
ESCAPED = json.dumps({"type": "service_account", "private_key": KEY})
INDENTED = "ssh_keys:\n  rsa_private: |\n" + "".join(f"    {line}\n" for line in KEY.splitlines())
ENCRYPTED = (
    "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123ABCD\n\n"
    f"{BODY}-----END RSA PRIVATE KEY-----\n"
)
SOURCE = "key := " + " +\n  ".join(f'"{line}\\n"' for line in KEY.splitlines())
FILLING = b"nothing to be seen here, and nothing after it\n" * 30_000


def in_base64(data: bytes, *, before: bytes = b"") -> bytes:
    return b"    client-key-data: " + base64.b64encode(before + data) + b"\n"


SECRET = b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
HOLDERS = {
    "in JSON": ESCAPED.encode(),
    "in JSON in JSON": json.dumps(ESCAPED).encode(),
    "indented": INDENTED.encode(),
    "indented by tabs": KEY.replace("-----BEGIN", "\t-----BEGIN").encode(),
    "behind a byte order mark": b"\xef\xbb\xbf" + KEY.encode(),
    "in UTF-16": KEY.encode("utf-16"),
    "in UTF-16 of the other order": KEY.encode("utf-16-be"),
    "in UTF-16, indented": INDENTED.encode("utf-16-le"),
    "in quotes": f'KEY="{KEY}"\n'.encode(),
    "in quotes, on one line": f"KEY='{KEY!r}'".encode(),
    "with CR line ends": KEY.replace("\n", "\r").encode(),
    "with CR line ends, after text": b"mine\r" + KEY.replace("\n", "\r").encode(),
    "with spaces for line ends": KEY.replace("\n", " ").encode(),
    "with a passphrase": ENCRYPTED.encode(),
    "with a passphrase, in JSON": json.dumps(ENCRYPTED).encode(),
    "in source": SOURCE.encode(),
    "in HTML": f"<pre>{KEY}</pre>".replace("\n", "&#10;").encode(),
    "as comments": "".join(f"# {line}\n" for line in KEY.splitlines()).encode(),
    "of OpenPGP": b"x" + pem("PGP PRIVATE KEY BLOCK").replace(b"-----\n", b"-----\n\n", 1),
    "of OpenPGP, with a version": pem("PGP PRIVATE KEY BLOCK").replace(
        b"-----\n", b"-----\nVersion: GnuPG v1\nComment: mine, too\n\n", 1
    ),
    "in base64": in_base64(KEY.encode()),
    "in base64, in YAML of a cluster": b"certificate-authority-data: "
    + base64.b64encode(CERTIFICATE)
    + b"\n"
    + in_base64(KEY.encode()),
    "in base64 in lines": base64.encodebytes(CERTIFICATE + KEY.encode()),
    "in base64 in lines, escaped": base64.encodebytes(KEY.encode()).replace(b"\n", b"\\n"),
    **{
        f"in base64 at {count}": in_base64(KEY.encode(), before=b"x" * count) for count in range(3)
    },
    "of OpenVPN": pem("OpenVPN Static key V1"),
    "of age": b"  key: AGE-SECRET-KEY-1" + b"QPZRY9X8GF2TVDW0" * 3,
    "of PuTTY": b"saved: PuTTY-User-Key-File-3: ssh-ed25519\n",
    "of SSH2": b"\n  ---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----\r\nComment: x\r\n" + BODY.encode(),
    "of OpenPGP, in binary": packet(5, b"s" * 90) + packet(13, b"me") + packet(2, b"s"),
    "at the end of text": FILLING + b"\n" + KEY.encode(),
    "at the end of a line": FILLING + KEY.encode(),
    "after a hole": bytes(3 * MIB) + KEY.encode(),
    "across the end of a mebibyte": b"x" * (MIB - 15) + b"\n" + KEY.encode(),
    "for a cloud": b"[default]\naws_secret_access_key = " + SECRET + b"\n",
    "for a cloud, in a shell": b"x\nexport AWS_SECRET_ACCESS_KEY='" + SECRET + b"'\n",
    "for a cloud, in a unit": b'Environment="AWS_SECRET_ACCESS_KEY=' + SECRET + b'"\n',
    "for a cloud, in JSON": b'{"SecretAccessKey": "' + SECRET + b'", "x": 1}',
    "for a cloud, in YAML": b"s3:\n  secret_access_key: " + SECRET + b"\n",
    "for a cloud, in XML": b"<SecretAccessKey>" + SECRET + b"</SecretAccessKey>",
    "for a cloud, far in": FILLING + b"aws_secret_access_key=" + SECRET,
}  # fmt: skip


def see(data: bytes, *, holes: bool = True) -> Content:
    """Feed a file's blocks, as a tree's reader yields them."""
    content = Content(len(data))
    for offset in range(0, len(data), MIB):
        block = data[offset : offset + MIB]
        if block.strip(b"\0") or not holes:
            content.feed(offset, block)
    return content


@pytest.mark.parametrize("form", HOLDERS)
@pytest.mark.parametrize("path", ["root/notes", "var/lib/cloud/instance/user-data.txt"])
def test_a_secret_is_found_in_each_form(form: str, path: str) -> None:
    kind = Secret.CREDENTIALS if form.startswith("for a cloud") else Secret.PRIVATE_KEY
    for holes in (True, False):
        assert hidden(path, see(HOLDERS[form], holes=holes)) is kind
    assert hidden("usr/lib/python3/test_ssl.py", see(HOLDERS[form])) is None


TEXTS = [form for form in HOLDERS if "for a cloud" not in form and "binary" not in form]


@pytest.mark.parametrize("form", TEXTS)
def test_no_form_of_a_key_is_cleared_under_a_name_that_may_hold_one(form: str) -> None:
    for path in ("etc/ssl/all.pem", "srv/holed.key", "etc/ssl/allcrt.crt", "etc/apt/x.gpg"):
        for data in (HOLDERS[form], CERTIFICATE * 9_000 + HOLDERS[form]):
            found = suspect(path)
            assert found is not None
            assert found.clears is not None
            assert not found.clears(see(data))


PLAIN, LOCKED = NoEncryption(), BestAvailableEncryption(b"x")
RSA, EC = rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP384R1())
DER_FORMS: list[tuple[PrivateFormat, KeySerializationEncryption]] = [
    (PrivateFormat.TraditionalOpenSSL, PLAIN),
    (PrivateFormat.PKCS8, PLAIN),
    (PrivateFormat.PKCS8, LOCKED),
]


@pytest.mark.parametrize(("form", "lock"), DER_FORMS)
def test_a_key_in_der_is_known_under_any_name(
    form: PrivateFormat, lock: KeySerializationEncryption
) -> None:
    for key in (RSA, EC):
        data = key.private_bytes(Encoding.DER, form, lock)
        assert is_left_out("root/der.bin", data)
        assert not is_left_out("root/der.bin", data + b"\0")
        assert not is_left_out("root/der.bin", data[:-1])
        assert is_left_out("root/der.key", data + b"\0") == (lock is PLAIN)
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        assert not is_left_out("root/der.bin", public)
    if form is PrivateFormat.PKCS8:
        small = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.DER, form, lock)
        assert is_left_out("root/der.bin", small)


@pytest.mark.parametrize(
    "text",
    [
        'write("-----BEGIN PRIVATE KEY-----\\n")\nwrite(encode(the_key_that_was_made_before))\n',
        'BEGIN = "-----BEGIN RSA PRIVATE KEY-----"\nEND = "-----END RSA PRIVATE KEY-----"\n',
        "s/-----BEGIN [A-Z ]*PRIVATE KEY-----/x/\n",
        "It begins with -----BEGIN PRIVATE KEY-----\nand goes on.\n",
        "-----BEGIN PRIVATE KEY-----\0-----BEGIN EC PRIVATE KEY-----\0words of a program",
        "PuTTY-User-Key-File-%d: %s\n",
        "keys begin with AGE-SECRET-KEY-1...\n",
        "aws_secret_access_key = \naws_access_key_id = x\n",
        "    aws_secret_access_key=settings.AWS_SECRET_ACCESS_KEY,\n",
        "export AWS_SECRET_ACCESS_KEY=$(pass show aws)\n",
        'secretAccessKey: process.env.AWS_SECRET_ACCESS_KEY || "",\n',
        'os.environ["AWS_SECRET_ACCESS_KEY"] = secret_access_key\n',
        "AWS_SECRET_ACCESS_KEY=<your key>\n",
    ],
)
def test_what_only_speaks_of_secrets_stays(text: str) -> None:
    for data in (text.encode(), text.encode("utf-16"), base64.b64encode(text.encode())):
        assert hidden("srv/app/x.py", see(data)) is None
    public = pem("PUBLIC KEY") + CERTIFICATE
    assert hidden("srv/x", see(base64.b64encode(public) + public.decode().encode("utf-16"))) is None


def test_large_public_files_stay() -> None:
    assert not is_left_out("etc/ssl/certs/all.crt", CERTIFICATE * 20_000)
    assert see(CERTIFICATE * 20_000).is_public_pem
    keyring = PUBLIC + packet(6, b"k" * 60_000) * 100 + packet(13, b"last")
    assert see(keyring).is_public_openpgp
    assert not see(keyring[:-1]).is_public_openpgp
    assert not see(keyring + packet(5, b"secret")).is_public_openpgp
    assert not see(CERTIFICATE * 20_000 + bytes(2 * MIB) + pem("SOMETHING")).is_public_pem


def test_settings_that_are_too_long_to_be_searched_are_not_cleared() -> None:
    assert not is_left_out("root/.npmrc", b"fund=false\n" * 5_000)
    assert is_left_out("root/.npmrc", b"fund=false\n" * 9_000)


def test_what_is_known_stays_known_when_the_content_is_let_go() -> None:
    der = RSA.private_bytes(Encoding.DER, PrivateFormat.PKCS8, PLAIN)
    for data in (der, KEY.encode(), CERTIFICATE, PUBLIC, b"", b"password", b"harmless"):
        content, other = Content.of(data), Content.of(data)
        content.forget()
        for name in ("has_private_key", "begins_as_der_key", "may_have_password", "is_public"):
            assert getattr(content, name) == getattr(other, name)


def test_no_bytes_break_the_search() -> None:
    noise = random.Random(6)
    start, half = b"-----BEGIN PRIVATE KEY-----", MIB // 2
    hostile = [
        start * 20_000,
        start + b"\\" * MIB,
        (start + b"\\n" * 99) * 2_000,
        (start + b"\n" + b"Abc: " * 60) * 2_000,
        b"LS0tLS1CRUdJTi" * 40_000,
        b"UFJJVkFURSBL" * 40_000,
        b"secret_access_key=" + b"a" * half + b"secret_access_key" + b" " * half,
        KEY.encode("utf-16") * 2_000,
    ]
    hostile += [noise.randbytes(half) for _ in range(2)]
    for data in hostile:
        see(data)
        for _ in range(2):
            cut = noise.randrange(len(data))
            see(data[cut : cut + 3_000])


NAMES = {
    Secret.HISTORY: """
        .local/state/zsh/history .local/state/bash/history .cache/zsh/history .bash_history.1
        .local/state/elvish/db.bolt .bash_history-01234.tmp .zsh_history.new
        .bash_history-20240101.gz .config/zsh/.zsh_history .viminfo.tmp .viminfz.tmp .lesshst.old
        .python_history-00001.tmp .local/share/atuin/history.db .local/state/lesshst
        .bash_history.host-1 .history.1 .fish/fish_history.bak
        """.replace(".fish/", ".config/fish/"),
    Secret.CREDENTIALS: """
        etc/boto.cfg .aws/credentials.bak .dockercfg .mc/config.json .minio .smbcredentials
        .config/op .local/share/keyrings .local/share/keyrings.old .netrc.1 .netrc-save .pgpass.old
        .docker/config.json.2024-01-01 .docker/config.json.bak .kube/config.orig .kube/config_old
        .aws/credentials.20240101.gz .azure.bak .git-credentials.lock .boto.dpkg-old .s3cfg.rpmsave
        .password-store .msmtprc
        """,
    Secret.PRIVATE_KEY: """
        .config/sops/age/keys.txt .config/sops/age/keys.txt.bak etc/ssh/ssh_host_rsa_key.bak
        x.p12.old store.kdbx.1 etc/wireguard/wg0.conf.save
        """,
    Secret.LOGIN_KEY: ".ssh/authorized_keys.bak .ssh/authorized_keys2.old .ssh/authorized_keys-1",
}  # fmt: skip
CASES = [(kind, name) for kind, names in NAMES.items() for name in names.split()]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_what_the_first_filter_let_through_is_left_out(kind: Secret, name: str) -> None:
    for folder in ("", "root/", "home/some one/"):
        found = suspect(folder + name)
        assert found is not None
        assert (found.kind, found.clears) == (kind, None)


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("root/.m2/settings.xml", b"<server><password>x</password></server>"),
        ("root/.m2/settings.xml.bak", b"<server><password>x</password></server>"),
        ("root/.config/pip/pip.conf", b"index-url = https://me:x@example.com/simple\n"),
        ("root/.pip/pip.conf", b"index-url = https://me:x@example.com/simple\n"),
        ("srv/app/.env", b"PORT=80\nDB_PASSWORD=x\n"),
        ("srv/app/.env", b"DATABASE_URL=postgres://me:x@db/it\n"),
        ("srv/app/.env.production", b"API_KEY=x\n"),
        ("srv/app/.env.old", "API_KEY=x\n".encode("utf-16")),
        ("root/.hgrc", b"[auth]\nx.password = y\n"),
        ("root/.curlrc", b"user = me:x\n"),
        ("root/.curlrc", b"-u me:x\n"),
        ("root/.npmrc", KEY.encode()),
    ],
)
def test_settings_with_a_password_are_left_out(path: str, content: bytes) -> None:
    assert is_left_out(path, content)
    assert not is_left_out(path, b"color = always\n")


@pytest.mark.parametrize(
    "path",
    [
        *("srv/.azure-pipelines.yml", "srv/.azure-pipelines", "root/.netrc.example", "root/.ops"),
        *("srv/bash/history.c", "root/.kube/config.d", "root/.minio.sys", "srv/environment"),
        *("usr/share/doc/x/.env", "usr/lib/x/.local/share/y/history", "root/.docker/config.jsonl"),
        *("a/.netrc.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1/x",),
        "a/.netrc" + ".old" * 50 + "x",
    ],
)
def test_what_has_a_like_name_stays(path: str) -> None:
    assert not is_left_out(path, b"password" if path.startswith("usr") else b"anything")
