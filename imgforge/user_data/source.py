"""Files become parts: their kind told by their first line, or by whoever names them."""

import gzip
import io
import zlib
from pathlib import Path

from imgforge.errors import BadInputError
from imgforge.user_data.kind import KINDS, UNKNOWN, Kind, kind_named, kind_of_text
from imgforge.user_data.part import Part

LARGEST_FILE_BYTES = 16 * 2**20
"""More than this is no user data, and is not read."""
_GZIP = b"\x1f\x8b"


def read_source(path: Path) -> bytes:
    """Return a file's content. Raises BadInputError where it cannot be read or is far too large."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
    except OSError as problem:
        raise BadInputError(f"File {path}: {(problem.strerror or 'unreadable').lower()}.") from None
    if len(data) > LARGEST_FILE_BYTES:
        raise BadInputError(f"File {path}: is larger than 16 MiB; user data has at most 16 KiB.")
    return data


def read_part(argument: str) -> Part:
    """Return the part that FILE or FILE:TYPE names.

    TYPE is a MIME type, or such a one without "text/" and "x-". Raises BadInputError where the
    file cannot be read, and where neither its first line nor a type tells what it is.
    """
    path, named = _split(argument)
    content = read_source(path)
    if named is not None:
        return Part(path.name, content, named, named.mime_type)
    kind = kind_of_text(content.decode("utf-8", "surrogateescape"))
    if kind is not UNKNOWN:
        return Part(path.name, content, kind)
    if content.startswith(_GZIP) and _kind_of_gzip(content) is not UNKNOWN:
        return Part(path.name, content, UNKNOWN, "application/gzip")
    known = ", ".join(sorted(kind.beginning for kind in KINDS.values() if kind.beginning))
    raise BadInputError(
        f"File {path}: its first line does not tell what it is; known are {known}.",
        hint=f"Say it: {path}:cloud-config, {path}:shellscript, …",
    )


def _split(argument: str) -> tuple[Path, Kind | None]:
    before, colon, name = argument.rpartition(":")
    if not colon or Path(argument).exists():
        return Path(argument), None
    kind = kind_named(name)
    if kind is None:
        if "/" in name and not name.startswith("text/"):
            return Path(argument), None
        raise BadInputError(
            f"Part {argument}: {name!r} is no type of user data; "
            f"known are {', '.join(sorted(mime.removeprefix('text/') for mime in KINDS))}."
        )
    return Path(before), kind


def _kind_of_gzip(content: bytes) -> Kind:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return kind_of_text(file.read(4096).decode("utf-8", "surrogateescape"))
    except (OSError, EOFError, zlib.error):
        return UNKNOWN
