"""User data is taken apart as cloud-init does it: gzip, MIME, archives, and what is in them."""

import base64
import binascii
import email
import re
import zlib
from dataclasses import dataclass, field, replace
from email import errors
from email.message import Message

import yaml

from imgforge.user_data.finding import Finding, Weight, error, warning
from imgforge.user_data.kind import (
    ARCHIVE,
    CLOUD_CONFIG,
    INCLUDES,
    KINDS,
    SCRIPT,
    UNKNOWN,
    kind_of_text,
)
from imgforge.user_data.part import Part
from imgforge.user_data.yaml_text import NotYamlError, compose, pairs, text_of

UNPACKED_LIMIT_BYTES = 2**20
"""How much is looked at: more than this, no user data of 16 KiB means to unpack to."""
_MOST_PARTS = 1000
_GZIP = b"\x1f\x8b"
_GZIP_TYPES = frozenset(
    f"application/{name}"
    for name in (
        "gzip",
        "gzip-compressed",
        "gzipped",
        "x-compress",
        "x-compressed",
        "x-gunzip",
        "x-gzip",
        "x-gzip-compressed",
    )
)
# Types of which cloud-init looks at the content to learn what it is.
_LOOKED_INTO = frozenset({"", "text/plain", "text/x-not-multipart", SCRIPT.mime_type})
_BASE64_DEFECTS = (
    errors.InvalidBase64CharactersDefect,
    errors.InvalidBase64PaddingDefect,
    errors.InvalidBase64LengthDefect,
)
_MIME_MARK = b"mime-version:"
_MIME_WITHIN_BYTES = 4096
_MULTIPART_HEADER = re.compile(rb"\s*content-type:\s*multipart/", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/\s]+={0,2}\s*")


@dataclass(frozen=True, slots=True)
class Opened:
    """User data taken apart: what it was wrapped in ("base64", "gzip", "mime") and its parts."""

    wrappings: tuple[str, ...]
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]


@dataclass(slots=True)
class _Reader:
    wrappings: list[str] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def read(self, data: bytes) -> None:
        if (inner := _of_base64(data)) is not None:
            self.wrappings.append("base64")
            self.findings.append(_base64_finding(inner))
            return self.read(inner)
        if data.startswith(_GZIP):
            unpacked = self._unpack(data, "user data")
            if unpacked is None:
                return None
            self.wrappings.append("gzip")
            data = unpacked
        if _MIME_MARK in data[:_MIME_WITHIN_BYTES].lower():
            return self._read_message(data)
        if _MULTIPART_HEADER.match(data):
            self.findings.append(
                error(
                    "mime-version-missing",
                    "a MIME message without MIME-Version in its first 4096 bytes",
                    "cloud-init knows a message by that header alone",
                    hint="Add the line `MIME-Version: 1.0` above.",
                )
            )
        if data.strip():
            self._add("part-001", data, mime_type="")
        return None

    def _read_message(self, data: bytes) -> None:
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as problem:
            self.findings.append(
                error(
                    "message-not-utf8",
                    f"a MIME message whose byte {problem.start} is no UTF-8",
                    "cloud-init stops there, and no part takes effect",
                    hint="Encode such a part as base64: imgforge user-data make does.",
                )
            )
            text = data.decode("utf-8", "surrogateescape")
        message = email.message_from_string(text)
        if message.is_multipart():
            self.wrappings.append("mime")
        elif _MULTIPART_HEADER.search(data[:_MIME_WITHIN_BYTES]) and not message.keys():
            self.findings.append(
                error(
                    "headers-not-first",
                    "a MIME message whose headers do not begin in its first line",
                    "cloud-init takes all of it for text, and ignores it",
                    hint="Remove what stands before MIME-Version and Content-Type.",
                )
            )
        self._walk(message)

    def _walk(self, message: Message) -> None:
        for number, piece in enumerate(message.walk(), start=0):
            if number > _MOST_PARTS:
                found = f"more than {_MOST_PARTS} parts"
                self.findings.append(error("too-many-parts", found, "the rest was not looked at"))
                return
            if piece.get_content_maintype() == "multipart":
                if not piece.is_multipart():
                    self.findings.append(_empty_multipart(piece))
                continue
            try:
                name, mime_type, content = _opened(piece)
                findings = _encoding_findings(piece)
            except Exception as problem:  # cloud-init calls the same library the same way
                self.findings.append(_unreadable(problem))
                continue
            name = name or f"part-{len(self.parts) + 1:03}"
            self._add(name, content, mime_type=mime_type, findings=findings)

    def _add(
        self, name: str, content: bytes, *, mime_type: str, findings: tuple[Finding, ...] = ()
    ) -> None:
        said = mime_type
        if said in _GZIP_TYPES:
            unpacked = self._unpack(content, f"part {name}")
            if unpacked is None:
                return
            content, mime_type = unpacked, ""
        text = content.decode("utf-8", "surrogateescape")
        kind = KINDS.get(mime_type, UNKNOWN)
        if mime_type in _LOOKED_INTO:
            told = kind_of_text(text)
            kind = kind if told is UNKNOWN else told
        part = Part(name, content, kind, said, findings=findings)
        if kind is ARCHIVE:
            self._explode(part)
        else:
            self.parts.append(part)

    def _explode(self, archive: Part) -> None:
        """Add the entries of a cloud-config archive; they are not unpacked any further."""
        try:
            root = compose(archive.text)
        except NotYamlError as problem:
            root, found = None, f"no YAML: {problem}"
        else:
            found = "no list"
        if not isinstance(root, yaml.SequenceNode):
            wrong = error("archive-no-list", found, "a cloud-config-archive is a list in YAML")
            self.parts.append(replace(archive, findings=(*archive.findings, wrong)))
            return
        for number, entry in enumerate(root.value[:_MOST_PARTS], start=1):
            self.parts.append(_archive_entry(archive, entry, number=number))

    def _unpack(self, data: bytes, what: str) -> bytes | None:
        unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        try:
            unpacked = unpacker.decompress(data, UNPACKED_LIMIT_BYTES)
        except zlib.error as problem:
            self.findings.append(
                error("gzip-damaged", f"{what}: {problem}", "cloud-init cannot unpack it either")
            )
            return None
        if not unpacker.eof:
            larger = len(unpacked) >= UNPACKED_LIMIT_BYTES
            found = f"unpacks to more than {UNPACKED_LIMIT_BYTES} bytes" if larger else "is cut off"
            identity = "unpacks-too-large" if larger else "gzip-damaged"
            self.findings.append(error(identity, f"{what}: {found}", "it was not looked at"))
            return None
        return unpacked


def open_user_data(data: bytes) -> Opened:
    """Take user data apart. Never raises for what is in it: that is told in findings."""
    reader = _Reader()
    try:
        reader.read(data)
    except RecursionError:
        found = "messages within messages without an end"
        reader.findings.append(error("nested-too-deep", found, "the rest was not looked at"))
    return Opened(tuple(reader.wrappings), tuple(reader.parts), tuple(reader.findings))


def _opened(piece: Message) -> tuple[str, str, bytes]:
    """Return the name, MIME type and content of a piece of a message; "" for what is not said."""
    raw = piece.get_payload(decode=True)
    mime_type = piece.get_content_type() if "content-type" in piece else ""
    return piece.get_filename() or "", mime_type, raw if isinstance(raw, bytes) else b""


def _unreadable(problem: Exception) -> Finding:
    return error(
        "part-unreadable",
        " ".join(str(problem).split()),
        "cloud-init stops there, and no part takes effect",
        hint="imgforge user-data make writes parts that can be read.",
    )


def _archive_entry(archive: Part, entry: yaml.Node, *, number: int) -> Part:
    name = f"{archive.name}[{number}]"
    values = pairs(entry) or {"content": entry}
    content = text_of(values.get("content"))
    said = text_of(values.get("type")) or ""
    if content is None:
        needed = "an entry is a text, or has `content`"
        return Part(name, b"", findings=(warning("archive-entry", "an entry of neither", needed),))
    kind = KINDS.get(said, UNKNOWN) if said else kind_of_text(content)
    if kind is UNKNOWN and not said:
        kind = CLOUD_CONFIG
    if kind in INCLUDES:
        wrong = error("include-in-archive", "an include in an archive", "it is not fetched")
        return Part(name, content.encode(), UNKNOWN, said or kind.mime_type, findings=(wrong,))
    filename = text_of(values.get("filename"))
    return Part(filename or name, content.encode(), kind, said)


def _empty_multipart(piece: Message) -> Finding:
    boundary = piece.get_boundary()
    found = f"no line with its boundary {boundary!r}" if boundary else "no boundary in its header"
    return error("multipart-empty", f"a multipart message with {found}", "nothing takes effect")


def _encoding_findings(piece: Message) -> tuple[Finding, ...]:
    encoding = str(piece.get("content-transfer-encoding", "")).strip().lower()
    if any(isinstance(defect, _BASE64_DEFECTS) for defect in piece.defects):
        found = "a part whose base64 is damaged"
        return (error("base64-damaged", found, "a guest gets something else, or nothing"),)
    raw = piece.get_payload()
    body = raw if isinstance(raw, str) else ""
    if encoding in {"base64", "quoted-printable"} or body.isascii():
        return ()
    return (
        error(
            "letters-spoilt",
            f"letters beyond ASCII in a part with the encoding {encoding or '(none)'}",
            "cloud-init spoils them; such a part needs base64",
            hint="imgforge user-data make encodes it.",
        ),
    )


def _of_base64(data: bytes) -> bytes | None:
    """Return what data is the base64 of, where that is user data; else None."""
    if not _BASE64.fullmatch(data) or len(data) < 8:
        return None
    try:
        decoded = base64.b64decode(b"".join(data.split()), validate=True)
    except binascii.Error:
        return None
    if decoded.startswith(_GZIP) or _MIME_MARK in decoded[:_MIME_WITHIN_BYTES].lower():
        return decoded
    is_known = kind_of_text(decoded.decode("utf-8", "surrogateescape")) is not UNKNOWN
    return decoded if is_known or _of_base64(decoded) is not None else None


def _base64_finding(inner: bytes) -> Finding:
    if _of_base64(inner) is not None:
        return error(
            "base64-in-base64",
            "base64 of base64 of user data",
            "no cloud-init decodes it twice",
            hint="Give the data itself; tools encode it for EC2's API by themselves.",
        )
    what = "gzip of user data" if inner.startswith(_GZIP) else "user data"
    return Finding(
        "base64",
        Weight.WARNING,
        f"base64 of {what}, where EC2's tools encode the data by themselves",
        "only Amazon Linux, and cloud-init from 23.3 on, decode it in the guest; Debian 12's does "
        "not, and ignores it",
        "Give the data itself, or to an API that wants base64 exactly this.",
    )
