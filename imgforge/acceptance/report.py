"""A verdict told to a person: the stage that failed, why, the console around it, what to do."""

import re
import textwrap
from collections.abc import Sequence

from imgforge.acceptance.record import SeenSign
from imgforge.acceptance.verdict import Check, Verdict

LINES_BEFORE = 12
LINES_AFTER = 2
NARROWEST = 40
_TEXT_CHARACTERS = 160
_TESTS = ("suite:", "test:")
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def explain(verdict: Verdict, console_lines: Sequence[str], *, width: int = 100) -> str:
    """Return the lines that end a test; the last ten name stage, sign, reason and what to do.

    For a rejected disk they show the console around the sign, its line marked with `>`; or, where
    there was none, the console's end and each check that does not hold. What the guest wrote is
    stripped of control characters and cut to `width` columns; the rest is filled to them.
    """
    if verdict.accepted:
        return verdict.reason
    width = max(width, NARROWEST)
    sign = verdict.sign
    failed = [check for check in verdict.checks if not check.passed and sign is None]
    if failed and all(check.id.startswith(_TESTS) for check in failed):
        return _explain_checks(verdict, failed, width)
    shown = around(console_lines, sign.text if sign is not None else "")
    parts = [
        "The console around it:" if shown else "The console showed nothing.",
        *(_console_line(line, sign.text if sign is not None else "", width) for line in shown),
        *(_safe(f"does not hold: {check.id}: {check.evidence}", width) for check in failed),
        _fill(_shortened(verdict), width),
    ]
    if sign is not None:
        parts.append(_fill(f"Sign {sign.id}. {sign.hint}".strip(), width))
    return "\n".join(parts)


def explain_end(sign: SeenSign, console_lines: Sequence[str], *, width: int = 100) -> str:
    """Return what tells of a machine that ended in use: the console around a sign, and the sign."""
    shown = around(console_lines, sign.text)
    return "\n".join(
        [
            *(_console_line(line, sign.text, width) for line in shown),
            _fill(f"{sign.meaning[0].upper()}{sign.meaning[1:]}.", width),
            _fill(f"Sign {sign.id}. {sign.hint}".strip(), width),
        ]
    )


def _explain_checks(verdict: Verdict, failed: Sequence[Check], width: int) -> str:
    """Return what ends the test of a disk that boots: its console says nothing of these checks."""
    told = (_safe(f"does not hold: {check.id}: {check.evidence}", width) for check in failed)
    return "\n".join([*told, _fill(verdict.reason, width)])


def around(lines: Sequence[str], text: str) -> list[str]:
    """Return the lines around the last one that holds `text`; without such a line, the last.

    Lines without a letter or digit (the frame of a boot menu) are left out.
    """
    told = [line for line in lines if any(character.isalnum() for character in line)]
    found = [number for number, line in enumerate(told) if text and text in line]
    at = found[-1] if found else len(told) - 1
    return told[max(0, at - LINES_BEFORE) : at + 1 + LINES_AFTER]


def _console_line(line: str, text: str, width: int) -> str:
    mark = ">" if text and text in line else "|"
    return f"  {mark} {_safe(line, width - 4)}"


def _shortened(verdict: Verdict) -> str:
    """Return the reason with a long console line cut: the console above has it."""
    text = verdict.sign.text.strip().partition("\n")[0][:300] if verdict.sign is not None else ""
    if len(text) <= _TEXT_CHARACTERS:
        return verdict.reason
    return verdict.reason.replace(text, text[: _TEXT_CHARACTERS - 1] + "…")


def _fill(text: str, width: int) -> str:
    return textwrap.fill(
        _UNSAFE.sub(" ", text), width, break_long_words=False, break_on_hyphens=False
    )


def _safe(text: str, width: int) -> str:
    shown = _UNSAFE.sub(" ", text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
