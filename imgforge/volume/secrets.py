"""Which files hold what must not leave with an image: by their names, and by what is in them.

The first table is the filter of the AMI tools (AWS, "ec2-bundle-vol", --no-filter), whose globs are
rsync's: one without "/" is for a name, one with it for the end of a path. The second has what that
filter forgets; it is not for what packages bring, which everybody has.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from imgforge.volume.openpgp import is_public_openpgp

LARGEST_LOOKED_AT_BYTES = 2**20
_LARGEST_NAMELESS_BYTES = 2**16


class Secret(StrEnum):
    """Why a file is left out by the filter."""

    PRIVATE_KEY = "private-key"
    LOGIN_KEY = "authorized-keys"
    CREDENTIALS = "credentials"
    HISTORY = "history"
    EDITOR = "editor"


_ORIGINAL = {
    Secret.EDITOR: ("#*#", ".#*", "*.sw", "*.swo", "*.swp", "*~"),
    Secret.PRIVATE_KEY: ("*.pem", "*.priv", "*id_rsa*", "*id_dsa*", "*.gpg", "*.jks"),
    Secret.LOGIN_KEY: (".ssh/authorized_keys",),
    Secret.HISTORY: (".bash_history",),
}
_FORGOTTEN = {
    Secret.PRIVATE_KEY: (
        *("*id_ed25519*", "*id_ecdsa*", "*id_xmss*", "*.ppk", "*.p12", "*.pfx", "*.kdbx"),
        *("*.keytab", "ssh_host_*_key", "dropbear_*_host_key", ".gnupg/private-keys-v1.d"),
        *(".gnupg/secring*", "etc/wireguard/*.conf"),
    ),
    Secret.LOGIN_KEY: (".ssh/authorized_keys2",),
    Secret.CREDENTIALS: (
        *(".aws/credentials", ".aws/cli/cache", ".aws/sso/cache", ".aws/login/cache", ".awssecret"),
        *(".config/gcloud", ".azure", ".boto", ".s3cfg", ".passwd-s3fs", "etc/passwd-s3fs"),
        *(".netrc", "_netrc", ".git-credentials", ".config/git/credentials", ".pgpass"),
        *(
            ".mylogin.cnf",
            ".docker/config.json",
            ".config/containers/auth.json",
            ".kube/config",
            ".pypirc",
        ),
        *(".config/gh/hosts.yml", ".config/hub", ".config/glab-cli/config.yml"),
        *(".config/rclone/rclone.conf", ".rclone.conf", ".oci", ".config/doctl", ".vault-token"),
        *(".terraform.d/credentials.tfrc.json", ".terraformrc", ".aliyun/config.json", ".fog"),
        *(".config/openstack/clouds.yaml", ".config/hcloud/cli.toml", ".euca", ".eucarc"),
        *(".composer/auth.json", ".config/composer/auth.json", ".gem/credentials"),
        *(".cargo/credentials", ".cargo/credentials.toml", ".config/linode-cli", ".bluemix"),
    ),
    Secret.HISTORY: (
        *(".*_history", ".*-history", ".history", ".histfile", ".zhistory", ".*_hist", ".Rhistory"),
        *("fish/fish_history", "xonsh/xonsh-history*", ".xonsh-history*", "nushell/history.*"),
        *(".local/share/*/*history*", "PSReadLine/ConsoleHost_history.txt", ".elvish/db"),
        *(".ipython/profile_*/history.sqlite", ".dbshell", ".mongodb/mongosh/*_history"),
        *(".lesshst", ".viminfo", ".julia/logs/repl_history.jl", ".zsh_sessions", ".bash_sessions"),
    ),
}
# Settings that may have a password in them, and what it is called there.
_SETTINGS = {
    ".npmrc": (b"_auth", b"_password"),
    ".my.cnf": (b"password",),
    ".aws/config": (b"secret", b"_token", b"credential_process"),
    ".yarnrc.yml": (b"npmAuth",),
    ".curlrc": (b"user", b"-u"),
    ".wgetrc": (b"password",),
}
_SETTINGS_NAME = re.compile(rf"(?:\A|/)({'|'.join(map(re.escape, _SETTINGS))})\Z")
_TRUSTED_PLACES = re.compile(r"(?:etc|usr|lib[^/]*|opt|snap|var/lib)/")
_PACKAGED = re.compile(r"(?:usr/(?!local/)|lib[^/]*/)")
_KEY_NAME = re.compile(r"\.(?:key|pk8|p8|der|crt|cer)\Z")
_BEGIN = re.compile(rb"^-----BEGIN ([A-Z0-9 ]{1,60})-----[ \t\r]*$", re.MULTILINE)
_PRIVATE_BLOCK = re.compile(
    rb"^(?:-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----[ \t]*\r?\n\S"
    rb"|---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----[ \t]*\r?\n\S"
    rb"|PuTTY-User-Key-File-\d:|AGE-SECRET-KEY-1[A-Z0-9])",
    re.MULTILINE,
)
_DER_PRIVATE = re.compile(rb"\x30(?:[\x00-\x7f]|\x81.|\x82..|\x83...)\x02\x01[\x00\x01]", re.DOTALL)
_PUBLIC_BLOCKS = frozenset(
    {
        *(b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE", b"X509 CRL", b"PKCS7"),
        *(b"PUBLIC KEY", b"RSA PUBLIC KEY", b"DH PARAMETERS", b"EC PARAMETERS", b"CMS"),
        *(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
    }
)


def _translate(glob: str) -> str:
    return "".join("[^/]*" if letter == "*" else re.escape(letter) for letter in glob)


def _compile(*tables: dict[Secret, tuple[str, ...]]) -> re.Pattern[str]:
    by_kind = {
        kind: "|".join(_translate(glob) for table in tables for glob in table.get(kind, ()))
        for kind in Secret
        if any(table.get(kind) for table in tables)
    }
    groups = "|".join(f"(?P<{kind.name}>{globs})" for kind, globs in by_kind.items())
    return re.compile(rf"(?:\A|.*/)(?:{groups})\Z", re.DOTALL)


_PACKAGED_NAMES = _compile(_ORIGINAL)
_NAMES = _compile(_ORIGINAL, _FORGOTTEN)


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A file is left out as `kind` unless, or only if, its content says so.

    `clears` returns whether content makes it harmless. None: nothing does.
    """

    kind: Secret
    clears: Callable[[bytes], bool] | None = None


def suspect(path: str) -> Suspicion | None:
    """Return what a path's name makes of it; None for one that is harmless by its name."""
    is_packaged = _PACKAGED.match(path) is not None
    match = (_PACKAGED_NAMES if is_packaged else _NAMES).match(path)
    if match is not None and match.lastgroup is not None:
        kind = Secret[match.lastgroup]
        # Dropping what everybody may know breaks an image: no TLS without /etc/ssl/certs, no
        # packages without /usr/share/keyrings. A certificate is no secret, nor a public key.
        if _TRUSTED_PLACES.match(path) is not None:
            if path.endswith(".pem"):
                return Suspicion(kind, _is_public_pem)
            if path.endswith(".gpg"):
                return Suspicion(kind, is_public_openpgp)
        return Suspicion(kind)
    settings = _SETTINGS_NAME.search(path)
    if settings is not None:
        words = _SETTINGS[settings[1]]
        return Suspicion(Secret.CREDENTIALS, lambda data: not any(map(data.count, words)))
    if _KEY_NAME.search(path) is not None:  # of a package, too: as the original's *.pem
        return Suspicion(Secret.PRIVATE_KEY, lambda data: not holds_private_key(data, der=True))
    return None


def hides_key(path: str, size_bytes: int, data: bytes) -> bool:
    """Tell whether a file of a harmless name holds a private key.

    What packages bring is public, and what is large is no key.
    """
    if size_bytes > _LARGEST_NAMELESS_BYTES or _PACKAGED.match(path) is not None:
        return False
    return holds_private_key(data)


def holds_private_key(data: bytes, *, der: bool = False) -> bool:
    """Tell whether a file's bytes have a private key in them: PEM, OpenSSH, PuTTY, age; or DER."""
    likely = any(word in data for word in (b"PRIVATE KEY", b"PuTTY-User", b"AGE-SECRET"))
    if likely and _PRIVATE_BLOCK.search(data) is not None:
        return True
    return der and _DER_PRIVATE.match(data) is not None


def _is_public_pem(data: bytes) -> bool:
    labels = set(_BEGIN.findall(data))
    return bool(labels) and labels <= _PUBLIC_BLOCKS and b"PRIVATE KEY" not in data
