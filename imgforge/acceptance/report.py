"""A verdict told to a person: the stage that failed, why, the console around it, what to do."""

import re
from collections.abc import Sequence

from imgforge.acceptance.verdict import Verdict

LINES_BEFORE = 12
LINES_AFTER = 3
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def explain(verdict: Verdict, console_lines: Sequence[str], *, width: int = 100) -> str:
    """Return the lines that end a test; the last name the stage that failed and what to do.

    For a rejected disk they show the console around the fatal sign or, where there was none, its
    end and each check that does not hold. What the guest wrote is stripped of control characters
    and cut to `width` columns.
    """
    if verdict.accepted:
        return verdict.reason
    sign = verdict.sign
    shown = around(console_lines, sign.text if sign is not None else "")
    failed = [check for check in verdict.checks if not check.passed and sign is None]
    parts = [
        "The console around it:" if shown else "The console showed nothing.",
        *(f"  | {_safe(line, width - 4)}" for line in shown),
        *(_safe(f"does not hold: {check.id}: {check.evidence}", width) for check in failed),
        _UNSAFE.sub(" ", verdict.reason),
    ]
    if sign is not None and sign.hint:
        parts.append(_UNSAFE.sub(" ", sign.hint))
    return "\n".join(parts)


def around(lines: Sequence[str], text: str) -> list[str]:
    """Return the lines around the last one that holds `text`; without such a line, the last.

    Lines without a letter or digit (the frame of a boot menu) are left out.
    """
    told = [line for line in lines if any(character.isalnum() for character in line)]
    found = [number for number, line in enumerate(told) if text and text in line]
    at = found[-1] if found else len(told) - 1
    return told[max(0, at - LINES_BEFORE) : at + 1 + LINES_AFTER]


def _safe(text: str, width: int) -> str:
    shown = _UNSAFE.sub(" ", text)
    return shown if len(shown) <= width else shown[: width - 1] + "…"
