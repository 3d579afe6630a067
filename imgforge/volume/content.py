"""What a file's content tells, read from end to end while it is copied: private keys, credentials.

Keys are known by their first line and what follows it, wherever in a line that stands, escaped,
quoted or indented; so text that only speaks of keys is none. Each block is searched for a few
words first, one by one: 3.5 ms for a mebibyte, where one expression for all of them takes 10.
"""

import re
from base64 import b64decode
from collections.abc import Iterator
from functools import cached_property

from imgforge.volume.openpgp import PacketReader

_OVERLAP_BYTES = 2**16
_LARGEST_HEAD_BYTES = 2**16
_PRIVATE = b"PRIVATE KEY"
_WORDS = (_PRIVATE, b"-----BEGIN OpenVPN ", b"PuTTY-User-Key-File-", b"AGE-SECRET-KEY-")
_WIDE = "PRIVATE KEY".encode("utf-16-le").rstrip(b"\0")  # in UTF-16 of both orders
_BASE64_START = b"LS0tLS1CRUdJTi"  # -----BEGIN
# PRIVATE KEY as base64 has it, from where a group of four letters begins.
_BASE64_WORDS = (b"UFJJVkFURSBL", b"SVZBVEUgS0VZ", b"UklWQVRFIEtF")
_LONGEST_BASE64_BYTES = 2**16
_SECRET_WORDS = (b"secret_access_key", b"SECRET_ACCESS_KEY", b"ecretAccessKey")

# Between the lines of a key: white space, or what it becomes in JSON, a shell, source or HTML.
_BETWEEN = rb"(?:\\{1,8}(?:[nrt]|u000[aAdD])|&#(?:1[03]|x[aAdD]);|%0[aAdD]|[\s\"'`,;+>|#*()<&\\])"
_FIELDS = rb"(?:[A-Z][A-Za-z-]{2,30}: [^\r\n\\]{0,200}+" + _BETWEEN + rb"{1,100}+){0,8}+"
_BODY = rb"[A-Za-z0-9+/=]"
_LABEL = rb"(?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
_SSH2 = rb"---- BEGIN SSH2 (?:ENCRYPTED )?PRIVATE KEY ----"
_AFTER = _BETWEEN + rb"{1,200}+" + _FIELDS + _BODY + rb"{24}"
_LINE = rb"[ \t]*(?:\r\n?|\n)" + _BODY + rb"{4}"
_PRIVATE_KEYS = (
    re.compile(rb"-----BEGIN " + _LABEL + _AFTER),
    re.compile(rb"(?<![^\r\n])-----BEGIN " + _LABEL + _LINE),
    re.compile(rb"(?<![^\r\n])" + _SSH2 + _LINE),
    re.compile(_SSH2 + _AFTER),
    re.compile(rb"-----BEGIN OpenVPN [A-Za-z0-9 -]{1,40}?-----" + _AFTER),
    re.compile(rb"PuTTY-User-Key-File-\d: ?(?:ssh|ecdsa)-[a-z0-9]"),
    re.compile(rb"AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]{20}"),
    re.compile(rb"(?<![^\r\n])AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]"),
)
_BASE64_PRIVATE = re.compile(
    rb"\A(?:PR|R)?IVATE KEY(?: BLOCK)?-----" + _BETWEEN + rb"{1,200}+" + _FIELDS + _BODY + rb"{24}"
)
_BASE64 = re.compile(rb"(?:[A-Za-z0-9+/]|\s|\\{1,8}[nr])*+")
_NO_BASE64 = re.compile(rb"\s+|\\{1,8}[nr]")
_AWS_SECRETS = (
    re.compile(
        rb"^[ \t]*(?:(?:export|set|-)[ \t]+|Environment=\"?)?aws_secret_access_key[ \t]*[=:][ \t]*"
        rb"[\"']?[A-Za-z0-9/+]{8,200}+=*+[\"']?[ \t\r]*$",
        re.IGNORECASE | re.MULTILINE,
    ),
    re.compile(
        rb"secret_?access_?key\\*[\"']?\s{0,20}+[:=>]{1,2}\s{0,20}+\\*[\"']?"
        rb"(?=[A-Za-z/+]{0,99}+[0-9])[A-Za-z0-9/+]{16,200}+=*+(?=[\"'\s,;}\]<\\]|\Z)",
        re.IGNORECASE,
    ),
)
_PASSWORD = re.compile(
    rb"pass|pwd|secret|token|credential|auth|api.?key|://[^/\s:@]{0,200}+:[^/\s@]+@"
    rb"|^[ \t]*-{0,2}(?:u|user|proxy-user)\b[^\n]*:",
    re.IGNORECASE | re.MULTILINE,
)
_BEGIN = re.compile(rb"-----BEGIN ([^-\n]{1,60})-----")
_PUBLIC_LABELS = frozenset(
    {
        *(b"CERTIFICATE", b"TRUSTED CERTIFICATE", b"X509 CERTIFICATE", b"X509 CRL", b"PKCS7"),
        *(b"PUBLIC KEY", b"RSA PUBLIC KEY", b"DH PARAMETERS", b"EC PARAMETERS", b"CMS"),
        *(b"CERTIFICATE REQUEST", b"NEW CERTIFICATE REQUEST"),
    }
)
_PUBLIC_ARMOR = b"-----BEGIN PGP PUBLIC KEY BLOCK-----"
_DER_SEQUENCE = re.compile(rb"\x30(?:([\x00-\x7f])|\x81(.)|\x82(..)|\x83(...))", re.DOTALL)
_DER_PRIVATE = re.compile(rb"\x02\x01[\x00\x01]")
# RSA and DSA (RFC 8017, A.1.2), PKCS #8 (RFC 5958, plain and encrypted), EC (RFC 5915).
_DER_WHOLE = re.compile(
    rb"\x02\x01\x00\x02|\x02\x01[\x00\x01]\x30[\x05-\x7f]\x06|\x02\x01\x01\x04[\x0e-\x42]"
    rb"|\x30(?:.|\x81.|\x82..)\x06[\x09\x0a]\x2a\x86\x48\x86\xf7\x0d\x01(?:\x05|\x0c\x01)",
    re.DOTALL,
)


class Content:
    """What is known of a file of `size_bytes` once all its blocks were seen.

    Holes need not be. Nothing of the content is kept but its last 64 KiB, and a small file's all.
    Ask only then; `forget` keeps the answers only.
    """

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self._head = b""
        self._has_key = False
        self._speaks_of_keys = False
        self._has_secret = False
        self._labels: set[bytes] = set()
        self._packets = PacketReader()
        self._tail = b""
        self._end = 0

    @classmethod
    def of(cls, data: bytes) -> "Content":
        """Return what is known of a file that holds `data`."""
        content = cls(len(data))
        content.feed(0, data)
        return content

    def watch(self, blocks: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
        """Yield a file's blocks, each looked at."""
        for offset, block in blocks:
            self.feed(offset, block)
            yield offset, block

    def feed(self, offset: int, block: bytes) -> None:
        """Look at a block, which begins at `offset`; the part before it is a hole."""
        if offset == 0:
            is_small = self.size_bytes <= _LARGEST_HEAD_BYTES
            self._head = block if is_small else block[:16]
        self._packets.feed(offset, block)
        before = self._tail if offset == self._end else b""
        self._end = offset + len(block)
        window = before + block
        self._tail = window[-_OVERLAP_BYTES:]
        if window.strip(b"\0"):
            self._search(window)

    def _search(self, window: bytes) -> None:
        self._speaks_of_keys = self._speaks_of_keys or _PRIVATE in window
        self._labels.update(_BEGIN.findall(window) if b"-----BEGIN " in window else ())
        self._has_key = self._has_key or _finds_key(window)
        self._has_secret = self._has_secret or _finds_secret(window)

    def forget(self) -> None:
        """Let go of what was kept of the content; what can be asked was asked."""
        self._has_key = self.has_private_key
        _ = (self.begins_as_der_key, self.may_have_password, self.is_public_openpgp)
        self._head = self._tail = b""

    @cached_property
    def has_private_key(self) -> bool:
        """Whether a private key is somewhere in it: PEM, OpenSSH, PuTTY, age; or is all of it: DER.

        PEM counts in UTF-16 and in base64, too.
        """
        return self._has_key or self._is_der_key() or self._packets.is_secret(self.size_bytes)

    @cached_property
    def begins_as_der_key(self) -> bool:
        """Whether it begins as a private key in DER does, whatever follows."""
        begin = _DER_SEQUENCE.match(self._head)
        return begin is not None and _DER_PRIVATE.match(self._head, begin.end()) is not None

    @property
    def has_aws_secret(self) -> bool:
        """Whether a secret access key of AWS stands in it, by the name of the setting."""
        return self._has_secret

    @property
    def is_public(self) -> bool:
        """Whether it is public keys or certificates only, or nothing at all."""
        return not self.size_bytes or self.is_public_pem or self.is_public_openpgp

    @property
    def is_public_pem(self) -> bool:
        """Whether it is certificates or other public PEM, and nothing of another kind."""
        is_secret = self._has_key or self._speaks_of_keys
        return bool(self._labels) and self._labels <= _PUBLIC_LABELS and not is_secret

    @cached_property
    def is_public_openpgp(self) -> bool:
        """Whether it is public OpenPGP keys, and nothing else."""
        if self._head.lstrip().startswith(_PUBLIC_ARMOR):
            return not self._has_key and not self._speaks_of_keys
        return self._packets.is_public(self.size_bytes)

    @cached_property
    def may_have_password(self) -> bool:
        """Whether settings may have a password in them: a word says so, or they are too long."""
        is_whole = len(self._head) == self.size_bytes
        return not is_whole or _PASSWORD.search(self._head.replace(b"\0", b"")) is not None

    def _is_der_key(self) -> bool:
        begin = _DER_SEQUENCE.match(self._head)
        if begin is None or len(self._head) != self.size_bytes:
            return False
        length = int.from_bytes(next(filter(None, begin.groups()), b""), "big")
        is_all = begin.end() + length == self.size_bytes
        return is_all and _DER_WHOLE.match(self._head, begin.end()) is not None


def _finds_key(window: bytes) -> bool:
    if any(word in window for word in _WORDS) and _shows_key(window):
        return True
    if _WIDE in window and _shows_key(window.replace(b"\0", b"")):
        return True
    return any(_hides_key(window, word) for word in _BASE64_WORDS) or _wraps_key(window)


def _shows_key(text: bytes) -> bool:
    return any(key.search(text) is not None for key in _PRIVATE_KEYS)


def _hides_key(window: bytes, word: bytes) -> bool:
    """Tell whether base64 of a private key is in `window`, found by `word` in its first line."""
    place = window.find(word)
    while place >= 0:
        if _BASE64_PRIVATE.match(_decode(window[place : place + 512])) is not None:
            return True
        place = window.find(word, place + 1)
    return False


def _wraps_key(window: bytes) -> bool:
    """Tell whether base64 of PEM is in `window`, in lines or not, with a private key in it."""
    place = window.find(_BASE64_START)
    while place >= 0:
        following = window.find(_BASE64_START, place + 1)
        end = place + _LONGEST_BASE64_BYTES
        if _shows_key(_decode(window[place : min(end, following) if following >= 0 else end])):
            return True
        place = following
    return False


def _decode(text: bytes) -> bytes:
    match = _BASE64.match(text)
    assert match is not None
    letters = _NO_BASE64.sub(b"", match[0])
    return b64decode(letters[: len(letters) // 4 * 4])


def _finds_secret(window: bytes) -> bool:
    if not any(word in window for word in _SECRET_WORDS):
        return False
    return any(secret.search(window) is not None for secret in _AWS_SECRETS)
