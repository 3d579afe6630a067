"""Parts become user data: one alone as it is, several as a MIME multipart message (RFC 2046).

The same parts give the same bytes: the boundary comes from the content, and nothing has a date.
"""

import base64
import gzip
import hashlib
import re
from collections.abc import Sequence
from enum import StrEnum

from imgforge.errors import BadInputError
from imgforge.user_data.kind import UNKNOWN, kind_of_text
from imgforge.user_data.part import Part
from imgforge.user_data_limit import USER_DATA_LIMIT_BYTES, excess

# What a mail may hold as it is (RFC 2045, 7bit). The rest goes as base64: cloud-init spoils
# letters beyond ASCII in a part that has no encoding.
_PLAIN = re.compile(rb"[\t\n\x20-\x7e]*")
_LINE_BYTES = 998
_NAME_LETTERS = re.compile(r"[^-A-Za-z0-9_.()]")


class Form(StrEnum):
    """How parts are put together: one alone stays plain unless MULTIPART is asked for."""

    AUTO = "auto"
    MULTIPART = "multipart"


def make_user_data(
    parts: Sequence[Part], *, form: Form = Form.AUTO, compressed: bool = False
) -> bytes:
    """Return user data of parts, in their order.

    Raises BadInputError without any part, and where it is larger than EC2 takes.
    """
    if not parts:
        raise BadInputError("User data: no part is given; give at least one file.")
    is_plain = form is Form.AUTO and len(parts) == 1 and _tells_its_kind(parts[0])
    plain = parts[0].content if is_plain else _multipart(parts)
    made = _compressed(plain) if compressed else plain
    if wrong := excess(made):
        raise BadInputError(f"User data: {wrong}.", hint=_way_out(plain, compressed=compressed))
    return made


def _tells_its_kind(part: Part) -> bool:
    return part.kind is not UNKNOWN and kind_of_text(part.text) is part.kind


def _multipart(parts: Sequence[Part]) -> bytes:
    bodies = [_part(part, number) for number, part in enumerate(parts, start=1)]
    digest = hashlib.sha256(b"".join(hashlib.sha256(body).digest() for body in bodies)).hexdigest()
    boundary = f"==imgforge-{digest[:32]}=="
    head = f'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="{boundary}"\n'
    mark = f"\n--{boundary}\n".encode()
    return head.encode() + b"".join(mark + body for body in bodies) + f"\n--{boundary}--\n".encode()


def _part(part: Part, number: int) -> bytes:
    is_plain = _PLAIN.fullmatch(part.content) and max(map(len, part.content.split(b"\n"))) < (
        _LINE_BYTES
    )
    # Scripts run in the order of their names.
    name = f"{number:03}-{_NAME_LETTERS.sub('_', part.name) or 'part'}"
    head = (
        f'Content-Type: {part.mime_type or part.kind.mime_type}; charset="utf-8"\n'
        f"Content-Transfer-Encoding: {'7bit' if is_plain else 'base64'}\n"
        f'Content-Disposition: attachment; filename="{name}"\n\n'
    )
    body = part.content if is_plain else base64.encodebytes(part.content)
    return head.encode() + body


def _compressed(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=9, mtime=0)


def _way_out(plain: bytes, *, compressed: bool) -> str:
    if not compressed and (size := len(_compressed(plain))) <= USER_DATA_LIMIT_BYTES:
        return f"--gzip makes it {size} bytes, which cloud-init unpacks by itself."
    smaller = "even compressed it is too large: " if not compressed else ""
    return f"{smaller}put parts of it where `#include` fetches them."
