"""The table of signs as the README shows it: made from the code, so that it cannot drift."""

from dataclasses import dataclass

from imgforge.acceptance.grub_errors import GRUB_ERRORS
from imgforge.acceptance.outside_signs import OUTSIDE_SIGNS
from imgforge.acceptance.record import StageName
from imgforge.acceptance.signs import SIGNS

BEGIN = "<!-- signs: made by scripts/readme-signs, do not edit -->"
END = "<!-- end of signs -->"
_HEAD = "| sign | what it means, and what to do |\n|---|---|"
_ANY_STAGE = "the stage that was not reached"
_GRUB_ERROR = "grub-error"


@dataclass(frozen=True, slots=True)
class SignEntry:
    """A sign as a person looks it up; `ends_boot` is False for what only names another sign."""

    id: str
    stage: StageName | None
    meaning: str
    hint: str
    ends_boot: bool


def sign_entries() -> tuple[SignEntry, ...]:
    """Return every sign once, those of a stage together and in the stages' order.

    Rows of one id may differ in their stage: the first that ends a boot is what counts.
    """
    found: dict[str, SignEntry] = {}
    for sign in SIGNS:
        ends = sign.effect.ends_boot or sign.fatal_after is not None
        entry = SignEntry(sign.id, sign.stage, sign.meaning, sign.hint, ends)
        if sign.id not in found or (ends and not found[sign.id].ends_boot):
            found[sign.id] = entry
    for row in OUTSIDE_SIGNS.values():
        entry = SignEntry(row.id, row.stage, row.meaning, row.hint, ends_boot=True)
        found.setdefault(row.id, entry)
    order = [*StageName, None]
    return tuple(sorted(found.values(), key=lambda entry: order.index(entry.stage)))


def sign_table() -> str:
    """Return the Markdown between the README's two marks, both included."""
    parts = [BEGIN]
    stage: StageName | str | None = ""
    for entry in sign_entries():
        if entry.stage != stage:
            stage = entry.stage
            parts.append(f"\n**{stage.value if stage else _ANY_STAGE}**\n\n{_HEAD}")
        parts.append(_row(entry))
    parts.append("\n**GRUB Legacy's errors** (`grub-error`)\n\n" + _HEAD)
    parts += [
        f"| Error&nbsp;{number} | {_text(f'{meaning}. {hint}')} |"
        for number, (meaning, hint) in sorted(GRUB_ERRORS.items())
    ]
    return "\n".join((*parts, "", END))


def _row(entry: SignEntry) -> str:
    mark = "" if entry.ends_boot else " *"
    hint = "See its number below." if entry.id == _GRUB_ERROR else entry.hint
    return f"| `{entry.id}`{mark} | {_text(f'{_capital(entry.meaning)}. {hint}')} |"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _text(text: str) -> str:
    return text.replace("|", "\\|")
