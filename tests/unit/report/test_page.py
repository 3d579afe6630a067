"""The report's page: one file that runs nothing but its own, whatever a guest wrote."""

import base64
import hashlib
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from imgforge.report import (
    BootEntry,
    BootOutcome,
    CheckEntry,
    CommandEntry,
    ConsoleExcerpt,
    ConsoleLine,
    DiskEntry,
    Overall,
    PastBoot,
    Report,
    RequestEntry,
    RequestLog,
    SignEntry,
    StageEntry,
    TestEntry,
    TestOutcome,
    render_report,
    write_report,
)

CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
EVIL = (
    "</pre></title></style><script>alert(1)</script><img src=x onerror=alert(1)>"
    "\"' onload='alert(1)' {{ 7 * 7 }} {% raw %}&lt; &#x3c; ]]> --> "
    "\x1b]8;;http://evil\x07\x1b[2J \u202eright\u2066 \x00 \x9b \ud800 \ufeff"
)
GATE = BootEntry("gate", outcome=BootOutcome.ACCEPTED)
PNG = b"\x89PNG\r\n\x1a\npixels"


def evil_boot() -> BootEntry:
    """Return a boot in which each text a guest or a user has a hand in is hostile."""
    return BootEntry(
        name=EVIL,
        tests=(EVIL,),
        outcome=BootOutcome.REJECTED,
        reason=EVIL,
        failed_stage=EVIL,
        sign=SignEntry(EVIL, EVIL, EVIL, EVIL, EVIL, 1.0),
        stages=(StageEntry(EVIL, True, 1.0), StageEntry("kernel", False)),
        checks=(CheckEntry(EVIL, False, EVIL), CheckEntry("b", True)),
        requests=RequestLog(
            (RequestEntry(None, EVIL, EVIL, 200, True, EVIL, EVIL, "x" + EVIL),), 3
        ),
        commands=(CommandEntry(EVIL, None, EVIL), CommandEntry("true", 0)),
        console=ConsoleExcerpt(
            (ConsoleLine(1.0, EVIL),), (ConsoleLine(None, EVIL),), left_out_bytes=5_000_000
        ),
        screenshot=PNG,
        facts=((EVIL, EVIL),),
        notes=(EVIL,),
        created=CREATED,
        accelerator=EVIL,
        layout=EVIL,
        boot_method=EVIL,
    )


def evil_report() -> Report:
    return Report(
        title=EVIL,
        created=CREATED,
        disk=DiskEntry(EVIL, EVIL, EVIL, EVIL, EVIL),
        tests=tuple(
            TestEntry(EVIL, outcome, 1.0, failure=EVIL, reason=EVIL, replay=EVIL)
            for outcome in TestOutcome
        ),
        boots=(evil_boot(), replace(evil_boot(), tests=())),
        history=(PastBoot(CREATED, True, 5.0, accelerator=EVIL, layout=EVIL),),
    )


class Page(HTMLParser):
    """What a browser would find in a page: elements, attributes, text, and that all is closed."""

    _VOID = frozenset({"meta", "link", "img", "input"})

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: list[str] = []
        self.inside: dict[str, str] = {}
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        self.inside[self.open[-1] if self.open else ""] = data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def test_hostile_text_adds_no_element_and_no_attribute() -> None:
    text = render_report(evil_report())
    page = Page(text)
    assert not page.open
    assert len(page.all("script")) == 1
    names = {name for _, attributes in page.elements for name in attributes}
    assert not [name for name in names if name.startswith("on")]
    assert "style" not in names
    assert [image["src"] for image in page.all("img")] == [
        "data:image/png;base64," + base64.b64encode(PNG).decode()
    ] * 2
    assert all(link["href"] == "data:," for link in page.all("link"))
    assert all(str(link["href"]).startswith("#boot-") for link in page.all("a"))
    assert "{{ 7 * 7 }}" in "".join(page.texts)


def test_the_page_has_no_character_that_a_terminal_or_a_reader_could_be_fooled_by() -> None:
    for character in render_report(evil_report()):
        assert character.isprintable() or character == "\n"


def test_the_page_fetches_nothing() -> None:
    page = Page(render_report(replace(evil_report(), title="x")))
    assert not {"iframe", "object", "embed", "base", "audio", "video"} & {
        tag for tag, _ in page.elements
    }
    assert not [attributes for attributes in page.all("script") if attributes]


def test_the_policy_allows_the_pages_own_script_and_style_alone() -> None:
    text = render_report(Report("x", CREATED))
    page = Page(text)
    [policy] = [
        str(meta["content"])
        for meta in page.all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    for name in ("script", "style"):
        found = re.findall(f"<{name}>(.*?)</{name}>", text, re.DOTALL)
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert rules[f"{name}-src"] == f"'sha256-{digest}'"
    assert rules["default-src"] == "'none'"
    assert rules["img-src"] == "data:"
    assert text.index("Content-Security-Policy") < text.index("<style>")


def test_ids_are_never_given_twice() -> None:
    page = Page(render_report(evil_report()))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = {str(link["href"])[1:] for link in page.all("a")}
    named = {
        name
        for _, attributes in page.elements
        for key in ("aria-labelledby", "aria-describedby")
        for name in str(attributes.get(key) or "").split()
    }
    assert targets | named <= set(ids)


def test_a_boot_of_which_nothing_is_known_is_shown() -> None:
    text = render_report(Report("x", CREATED, boots=(BootEntry("machine 1"),)))
    assert "machine 1" in text
    assert "There is no console of this machine." in text
    assert "not judged" in text


def test_the_machine_of_a_failed_test_is_open() -> None:
    tests = (TestEntry("good", TestOutcome.PASSED), TestEntry("bad", TestOutcome.IMAGE))
    boots = tuple(BootEntry(f"machine of {name}", tests=(name,)) for name in ("good", "bad"))
    page = Page(render_report(Report("x", CREATED, tests=tests, boots=boots)))
    machines = [details for details in page.all("details") if details.get("class") == "boot"]
    assert ["open" in details for details in machines] == [False, True]


def test_nothing_tested_is_no_acceptance() -> None:
    report = Report("x", CREATED)
    assert report.overall is Overall.EMPTY
    assert "this is no acceptance" in render_report(report)


@pytest.mark.parametrize(
    ("outcomes", "overall"),
    [
        ((TestOutcome.PASSED,), Overall.ACCEPTED),
        ((TestOutcome.PASSED, TestOutcome.SKIPPED, TestOutcome.QUARANTINED), Overall.ACCEPTED),
        ((TestOutcome.FLAKY,), Overall.ACCEPTED),
        ((TestOutcome.SKIPPED,), Overall.EMPTY),
        ((TestOutcome.QUARANTINED,), Overall.EMPTY),
        ((TestOutcome.PASSED, TestOutcome.HARNESS), Overall.HARNESS),
        ((TestOutcome.PASSED, TestOutcome.HARNESS, TestOutcome.IMAGE), Overall.REJECTED),
    ],
)
def test_the_tests_make_the_verdict(outcomes: tuple[TestOutcome, ...], overall: Overall) -> None:
    tests = tuple(TestEntry(f"test {outcome}", outcome) for outcome in outcomes)
    assert Report("x", CREATED, tests=tests).overall is overall


@pytest.mark.parametrize(
    ("boot", "overall"),
    [
        (GATE, Overall.ACCEPTED),
        (replace(GATE, outcome=BootOutcome.REJECTED), Overall.REJECTED),
        (replace(GATE, outcome=BootOutcome.HOST_FAILED), Overall.HARNESS),
        (replace(GATE, outcome=BootOutcome.UNJUDGED), Overall.EMPTY),
        (replace(GATE, outcome=BootOutcome.REJECTED, tests=("a",)), Overall.EMPTY),
    ],
)
def test_the_boots_of_the_gate_make_the_verdict(boot: BootEntry, overall: Overall) -> None:
    assert Report("x", CREATED, boots=(boot,)).overall is overall


def test_very_many_long_consoles_make_no_endless_page() -> None:
    lines = tuple(ConsoleLine(1.0, f"line {number} {'x' * 60}") for number in range(14_000))
    boots = tuple(
        replace(GATE, name=f"machine {number}", console=ConsoleExcerpt(lines))
        for number in range(50)
    )
    text = render_report(Report("x", CREATED, boots=boots))
    assert len(text) < 40 * 2**20
    assert text.count("left out here") == 50


def test_a_page_that_was_there_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    assert write_report(Report("new one", CREATED), path) == path
    assert "<h1>new one</h1>" in path.read_text(encoding="utf-8")
    assert [child.name for child in tmp_path.iterdir()] == ["report.html"]


def test_the_head_says_how_the_machines_were_started() -> None:
    boots = (BootEntry("gate", boot_method="xen-grub"), BootEntry("other"))
    report = Report(title="disk", created=CREATED, boots=(*boots, boots[0]))
    assert report.boot_methods == ("xen-grub",)
    head = render_report(report).partition("<main>")[0]
    assert "<dt>started by</dt><dd>xen-grub</dd>" in head
