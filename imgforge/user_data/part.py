"""A part of user data: one thing that a guest handles by itself."""

from dataclasses import dataclass

from imgforge.user_data.finding import Finding
from imgforge.user_data.kind import UNKNOWN, Kind


@dataclass(frozen=True, slots=True)
class Part:
    """A part: its name and content, and the kind as which a guest handles it.

    `mime_type` is what is said of it, "" where it stands alone; `rendered_kind` is what a
    template becomes. `findings` are those of this part.
    """

    name: str
    content: bytes
    kind: Kind = UNKNOWN
    mime_type: str = ""
    rendered_kind: Kind | None = None
    findings: tuple[Finding, ...] = ()

    @property
    def text(self) -> str:
        """The content as cloud-init holds it: bytes that are no UTF-8 as surrogates."""
        return self.content.decode("utf-8", "surrogateescape")
