"""Text of a guest, made fit to be shown anywhere: in a page, in XML, in a terminal."""

from collections.abc import Iterable

from imgforge.report.report import ConsoleLine


def visible(text: str) -> str:
    r"""Return `text` with all that cannot be seen, or that moves what can, made visible.

    ASCII's controls are written as terminals echo them (an escape is ^[); what turns the direction
    of text, has no width, or is no character at all is written as its number: ⟨U+202E⟩. Line ends
    and tabs stay, so the result holds only characters that XML 1.0 allows (its section 2.2).
    """
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() or character in "\n\t" else _written(character)
        for character in text.replace("\r\n", "\n")
    )


def _written(character: str) -> str:
    code = ord(character)
    return f"^{chr(code ^ 0x40)}" if character.isascii() else f"⟨U+{code:04X}⟩"


def stamp(at_s: float | None) -> str:
    """Return a console line's time as console.log writes it; blanks of its width without one."""
    return " " * 11 if at_s is None else f"[{at_s:9.3f}]"


def console_text(lines: Iterable[ConsoleLine]) -> str:
    """Return console lines as console.log writes them, visible, a line each."""
    return "\n".join(f"{stamp(line.at_s)} {visible(line.text)}" for line in lines)


def cut(text: str, limit: int) -> str:
    """Return `text`, or its beginning and end with a word on what was left out between."""
    if len(text) <= limit:
        return text
    half = limit // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[… {left_out} characters left out …]\n{text[-half:]}"
