"""XML as manifests need it: elements with their place in the file, and nothing that is risky.

Expat itself tells where each element stands in the bytes, which a signature over them needs and
which neither lxml nor defusedxml pass on. What defusedxml refuses is refused here as well: a
document type, and with it every entity.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from xml.parsers import expat

from imgforge.bundle.problem import BundleError, shown

LARGEST_BYTES = 8 * 2**20
_DEEPEST = 8
_MOST_ELEMENTS = 100_000
_ENCODINGS = {"UTF-8", "US-ASCII", "ASCII", "ISO-8859-1"}


@dataclass(frozen=True, slots=True)
class Element:
    """An element: its content in order, and the bytes start:end of the file that it stands in."""

    name: str
    attributes: tuple[tuple[str, str], ...]
    content: tuple["str | Element", ...]
    start: int
    end: int

    @property
    def children(self) -> tuple["Element", ...]:
        """The elements in it."""
        return tuple(part for part in self.content if isinstance(part, Element))

    @property
    def text(self) -> str:
        """The text directly in it."""
        return "".join(part for part in self.content if isinstance(part, str))


def read_xml(content: bytes) -> Element:
    """Return the outermost element of a file.

    Raises BundleError (manifest-xml) for what is no well-formed XML, for a document type,
    entities, processing instructions, comments or CDATA, for another encoding than UTF-8, ASCII or
    ISO-8859-1, and beyond 8 MiB, 100 000 elements or eight levels.
    """
    if len(content) > LARGEST_BYTES:
        raise _error(f"has {len(content)} bytes; a manifest has at most {LARGEST_BYTES}")
    if b"\0" in content:
        raise _error("holds zero bytes; UTF-8, ASCII or ISO-8859-1 is needed")
    return _Reading(content).read()


def write_xml(element: Element) -> Iterator[str]:
    """Yield an element's text again as the original's library does: single quotes, else as it is.

    Ruby's REXML, which the original signs and verifies with.
    """
    attributes = "".join(f" {name}='{escape(value)}'" for name, value in element.attributes)
    yield f"<{element.name}{attributes}>"
    for part in element.content:
        if isinstance(part, str):
            yield escape(part, quote=False)
        else:
            yield from write_xml(part)
    yield f"</{element.name}>"


@dataclass(slots=True)
class _Open:
    name: str
    attributes: tuple[tuple[str, str], ...]
    content: list[str | Element]
    start: int


class _Reading:
    def __init__(self, content: bytes) -> None:
        self._bytes = content
        self._open: list[_Open] = [_Open("", (), [], 0)]
        self._count = 0
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.XmlDeclHandler = self._declare
        parser.StartDoctypeDeclHandler = _refuse_doctype
        parser.EntityDeclHandler = _refuse_entity
        parser.ProcessingInstructionHandler = _refuse_instruction
        parser.CommentHandler = _refuse_comment
        parser.StartCdataSectionHandler = _refuse_section
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        self._parser = parser

    def read(self) -> Element:
        try:
            self._parser.Parse(self._bytes, True)  # noqa: FBT003 (it takes no keywords)
        except expat.ExpatError as error:
            raise _error(f"is no well-formed XML: {error}") from None
        except (ValueError, LookupError) as error:
            raise _error(f"cannot be read as XML: {shown(str(error))}") from None
        [root] = self._open[0].content
        assert isinstance(root, Element)
        return root

    def _declare(self, version: str, encoding: str | None, _standalone: int) -> None:
        if version != "1.0":
            raise _error(f"is XML {shown(version)}; 1.0 is needed")
        if encoding is not None and encoding.upper() not in _ENCODINGS:
            raise _error(f"is in {shown(encoding)}; UTF-8, ASCII or ISO-8859-1 is needed")

    def _start(self, name: str, attributes: list[str]) -> None:
        self._count += 1
        if self._count > _MOST_ELEMENTS or len(self._open) > _DEEPEST:
            raise _error(
                f"has more than {_MOST_ELEMENTS} elements, or they stand more than {_DEEPEST} deep"
            )
        pairs = tuple(zip(attributes[::2], attributes[1::2], strict=True))
        self._open.append(_Open(name, pairs, [], self._parser.CurrentByteIndex))

    def _end(self, _name: str) -> None:
        done = self._open.pop()
        end = self._parser.CurrentByteIndex  # of <empty/>, expat tells its end
        if self._bytes.startswith(b"</", end):
            end = self._bytes.index(b">", end) + 1
        element = Element(done.name, done.attributes, tuple(done.content), done.start, end)
        self._open[-1].content.append(element)

    def _text(self, text: str) -> None:
        self._open[-1].content.append(text)


def _refuse_doctype(*_: object) -> None:
    raise _error("has a document type (<!DOCTYPE …>), which no manifest has and bombs are made of")


def _refuse_entity(*_: object) -> None:
    raise _error("declares entities, which no manifest does and bombs are made of")


def _refuse_instruction(*_: object) -> None:
    raise _error("has a processing instruction (<?…?>), which no manifest has")


def _refuse_comment(*_: object) -> None:
    raise _error("has a comment (<!-- … -->), which no manifest has: it was changed by hand")


def _refuse_section(*_: object) -> None:
    raise _error("has a CDATA section, which no manifest has: it was changed by hand")


def _error(what: str) -> BundleError:
    return BundleError("manifest-xml", f"Manifest: {what}.")
