"""report.html: the whole report in one file that asks nobody for anything."""

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from imgforge.files import appearing
from imgforge.report.evidence import shorten
from imgforge.report.plot import PLOT_HEIGHT, plot
from imgforge.report.report import BootEntry, BootOutcome, Report, TestEntry, TestOutcome
from imgforge.report.text import cut, stamp, visible
from imgforge.report.timeline import timeline

if TYPE_CHECKING:
    from jinja2 import Environment

_CONSOLES_LIMIT_BYTES = 12 * 1024 * 1024
_CONSOLE_LEAST_BYTES = 32 * 1024
_PICTURES_LIMIT_BYTES = 24 * 1024 * 1024
_TEXT_LIMIT = 40_000
_PRINTED_LINES = 60
_WORTH_OPENING = {TestOutcome.IMAGE, TestOutcome.HARNESS}


def render_report(report: Report) -> str:
    """Return the report as one HTML page with all it needs inside.

    The page may run its own script and use its own style sheet, known by their digests, and
    show pictures it holds itself; a Content-Security-Policy forbids everything else. What came
    from a guest is text only. The page grows with the number of boots, but by less for each.
    """
    environment = _environment()
    style, script = _part("page.css"), _part("page.js")
    boots = [
        _boot_values(boot, report, number=number) for number, boot in enumerate(report.boots, 1)
    ]
    values: Mapping[str, Any] = {
        "report": report,
        "boots": boots,
        "tests": [_test_values(test, boots) for test in report.tests],
        "gates": [boot for boot in boots if not boot["entry"].tests],
        "driven": [boot for boot in boots if boot["entry"].tests],
        "policy": _policy(style=style, script=script),
        "style": _markup(style),
        "script": _markup(script),
        "plot_height": PLOT_HEIGHT,
    }
    return environment.get_template("page.html").render(values)


def write_report(report: Report, path: Path) -> Path:
    """Write the report's page, whole or not at all; return its path."""
    with appearing(path) as new:
        new.write_text(render_report(report), encoding="utf-8")
    return path


def _boot_values(boot: BootEntry, report: Report, *, number: int) -> dict[str, Any]:
    share = max(_CONSOLE_LEAST_BYTES, _CONSOLES_LIMIT_BYTES // len(report.boots))
    console = shorten(boot.console, share) if boot.console else None
    sign = boot.sign.text if boot.sign else ""
    lines = console.lines if console else ()
    signs = [at for at, line in enumerate(lines) if sign and sign in line.text]
    picture = boot.screenshot
    if picture and len(picture) > _PICTURES_LIMIT_BYTES // len(report.boots):
        picture = None
    failed = {test.name for test in report.tests if test.outcome in _WORTH_OPENING}
    went_wrong = boot.outcome in {BootOutcome.REJECTED, BootOutcome.HOST_FAILED}
    return {
        "id": f"boot-{number}",
        "entry": boot,
        "open": went_wrong or len(report.boots) == 1 or not failed.isdisjoint(boot.tests),
        "console": console,
        "head_count": len(console.head) if console else 0,
        "sign_at": signs[-1] if signs else None,
        "printed_from": len(lines) - _PRINTED_LINES,
        "timeline": timeline(boot),
        "plot": plot(boot, report.history),
        "picture": base64.b64encode(picture).decode("ascii") if picture else "",
        "picture_left_out": bool(boot.screenshot and not picture),
    }


def _test_values(test: TestEntry, boots: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "entry": test,
        "failure": cut(test.failure, _TEXT_LIMIT),
        "open": test.outcome in _WORTH_OPENING,
        "boots": [boot for boot in boots if test.name in boot["entry"].tests],
    }


def _policy(*, style: str, script: str) -> str:
    """Return what the page may do (Content Security Policy Level 3)."""
    return "; ".join(
        [
            "default-src 'none'",
            f"script-src '{_digest(script)}'",
            f"style-src '{_digest(style)}'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _part(name: str) -> str:
    return resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _markup(text: str) -> str:
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 # a file of this package


@cache
def _environment() -> "Environment":
    # Not above: `imgforge build` and others that never write a report need not load it (60 ms).
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    def show(value: Any) -> Any:
        plain = isinstance(value, str) and not isinstance(value, Markup)
        return visible(value) if plain else value

    environment = Environment(
        loader=FunctionLoader(_part),
        autoescape=True,
        finalize=show,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = _seconds
    environment.filters["stamp"] = stamp
    environment.filters["size"] = _size
    environment.filters["cut"] = cut
    return environment


def _seconds(value: float | None, digits: int = 1) -> str:
    return "" if value is None else f"{value:.{digits}f} s"


def _size(count_bytes: int) -> str:
    if count_bytes < 1024:
        return f"{count_bytes} bytes"
    if count_bytes < 1024 * 1024:
        return f"{count_bytes / 1024:.0f} KiB"
    return f"{count_bytes / (1024 * 1024):.1f} MiB"
