"""report.html in a real Chromium, as a person opens it: from a file, without a network."""

import json
import shutil
import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver import Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from imgforge.report import (
    BootEntry,
    BootOutcome,
    CheckEntry,
    CommandEntry,
    PastBoot,
    Report,
    RequestEntry,
    RequestLog,
    SignEntry,
    StageEntry,
    TestEntry,
    TestOutcome,
    read_console,
    write_report,
)

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
_DRIVER = shutil.which("chromedriver")
_LIMIT_S = 60
_HARMLESS = ("file:", "data:", "chrome:")  # the page, its pictures, and the browser's own pages
CREATED = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HOSTILE = (
    "</span></pre><script>window.hacked = 1</script><img src=//example.invalid/x onerror=hacked=1>"
    "<style>body{display:none}</style>\x1b[2J\x1b]8;;http://example.invalid\x07 "
    "\u202egnp.exe \x00 \r"
)

pytestmark = pytest.mark.skipif(
    not _CHROMIUM or not _DRIVER,
    reason="Chromium or chromedriver is missing (scripts/setup --tests)",
)


class Browser:
    """A headless Chromium that is told off for each script error, violation and request."""

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    def open(self, report: Report, folder: Path, *, width: int = 1200, dark: bool = False) -> None:
        path = write_report(report, folder / "report.html")
        self.show(width=width, dark=dark)
        self.messages()
        self.driver.get(path.as_uri())

    def show(self, *, width: int, dark: bool = False, media: str = "") -> None:
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media=media, features=[scheme])
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)

    def send(self, command: str, **values: Any) -> Any:
        return self.driver.execute_cdp_cmd(command, values)

    def run(self, script: str, *values: object) -> Any:
        return self.driver.execute_script(script, *values)

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def wait_for_text(self, selector: str, text: str) -> None:
        wait = WebDriverWait(self.driver, _LIMIT_S)
        wait.until(lambda _: self.one(selector).text == text, f"{selector} does not show {text!r}")

    def wait_until_in_console(self, selector: str) -> None:
        """Wait until an element stands in the part of the console that is seen, and stays."""
        script = """
            const element = document.querySelector(arguments[0]).getBoundingClientRect();
            const box = document.querySelector('.console').getBoundingClientRect();
            return element.top >= box.top && element.bottom <= box.bottom;
        """
        wait = WebDriverWait(self.driver, _LIMIT_S)
        wait.until(lambda _: self.run(script, selector), f"{selector} is not in sight")

    def messages(self) -> list[str]:
        """Return what the browser has complained of since: script errors, CSP violations."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]

    def requests(self) -> list[str]:
        """Return what the browser has asked for since, and no policy kept it from asking."""
        entries = self.driver.get_log("performance")  # type: ignore[no-untyped-call]
        events = [json.loads(entry["message"])["message"] for entry in entries]
        blocked = {
            event["params"]["requestId"]
            for event in events
            if event["method"] == "Network.loadingFailed"
            and event["params"].get("blockedReason") == "csp"
        }
        return [
            event["params"]["request"]["url"]
            for event in events
            if event["method"] == "Network.requestWillBeSent"
            and event["params"]["requestId"] not in blocked
        ]

    def overflows(self) -> bool:
        """Tell whether the page is wider than the window."""
        return bool(self.run("return document.documentElement.scrollWidth > window.innerWidth"))


@pytest.fixture(scope="module")
def _driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    assert _CHROMIUM is not None
    options = ChromeOptions()
    options.binary_location = _CHROMIUM
    # It shows a file that this test wrote: root and containers have no sandbox for it.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={tmp_path_factory.mktemp('chromium')}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(_DRIVER))
    driver.set_page_load_timeout(_LIMIT_S)
    driver.set_script_timeout(_LIMIT_S)
    driver.get("about:blank")  # away from the page for new tabs
    yield driver
    driver.quit()


@pytest.fixture
def browser(_driver: Chrome) -> Iterator[Browser]:
    browser = Browser(_driver)
    browser.messages()
    browser.requests()
    yield browser
    assert browser.messages() == []
    asked = [url for url in browser.requests() if not url.startswith(_HARMLESS)]
    assert asked == []
    assert browser.run("return window.hacked === undefined")


def png(width: int, height: int) -> bytes:
    """Return a picture of one colour (PNG specification, second edition)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = (b"\0" + b"\x10\x20\x60" * width) * height
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def boot_with_console(folder: Path, lines: list[str], **values: Any) -> BootEntry:
    log = "".join(f"[{number / 10:9.3f}] {line}\n" for number, line in enumerate(lines))
    (folder / "console.log").write_text(log, encoding="utf-8", newline="")
    return BootEntry("gate", console=read_console(folder), **values)


def whole_report(folder: Path) -> Report:
    """Return a report that has each part, and hostile text in most of them."""
    lines = [
        f"systemd[1]: Started unit-{number}.service: {'a long name ' * 9}" for number in range(300)
    ]
    lines[100:100] = [HOSTILE]
    lines[150:150] = ["Error 15: File not found"]
    boot = boot_with_console(
        folder,
        lines,
        outcome=BootOutcome.REJECTED,
        reason="Rejected at stage bootloader: GRUB Legacy stopped with error 15",
        failed_stage="bootloader",
        sign=SignEntry(
            "grub-error",
            "GRUB Legacy stopped",
            "Error 15: File not found",
            HOSTILE,
            "bootloader",
            0.4,
        ),
        stages=(
            StageEntry("firmware", True, 0.1),
            StageEntry("bootloader", True, 0.3),
            StageEntry("kernel", False),
        ),
        checks=(CheckEntry("booted", False, HOSTILE), CheckEntry("disk-unchanged", True, "a" * 64)),
        requests=RequestLog(
            (RequestEntry(1.0, "GET", f"/latest/{HOSTILE}", 404, False, HOSTILE, HOSTILE),)
        ),
        commands=(CommandEntry("hostname", 0, HOSTILE, 0.1), CommandEntry("sleep 9", None)),
        screenshot=png(64, 40),
        facts=(("QEMU", "7.2.22"),),
        notes=(HOSTILE,),
        seconds=0.9,
    )
    tests = tuple(
        TestEntry(f"tests/test_image.py::test_{outcome.name}", outcome, 1.5, HOSTILE, "a reason")
        for outcome in TestOutcome
    )
    history = tuple(
        PastBoot(CREATED + timedelta(days=number), number % 5 != 0, 7.0 + number % 3)
        for number in range(30)
    )
    other = BootEntry("machine 1", tests=("tests/test_image.py::test_PASSED",))
    return Report("minimal.raw", CREATED, tests=tests, boots=(boot, other), history=history)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1200, 360], ids=["wide", "narrow"])
def test_a_whole_report_opens_without_a_word(
    browser: Browser, tmp_path: Path, width: int, dark: bool
) -> None:
    browser.open(whole_report(tmp_path), tmp_path, width=width, dark=dark)
    assert browser.driver.title == "rejected: minimal.raw"
    assert browser.one("header .badge").text == "rejected"
    assert not browser.overflows()
    assert browser.run("return document.querySelectorAll('script, img, style').length") == 3
    assert browser.run("return document.querySelector('img.screen').naturalWidth") == 64
    paper = browser.run("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(18, 22, 27)") is dark
    bar = browser.run("return document.querySelector('.bar').getBoundingClientRect().width")
    assert bar > 5
    (tmp_path / "screen.png").write_bytes(browser.driver.get_screenshot_as_png())


def test_the_console_shows_the_sign_and_hostile_text_as_text(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(whole_report(tmp_path), tmp_path)
    browser.wait_until_in_console(".l.sign")
    shown = browser.run("return document.querySelectorAll('.t')[100].textContent")
    assert "<script>window.hacked = 1</script>" in shown
    assert "^[[2J" in shown
    assert "⟨U+202E⟩gnp.exe ^@" in shown


def test_a_search_counts_marks_and_goes_round(browser: Browser, tmp_path: Path) -> None:
    lines = ["Alpha beta", "ALPHA alpha", "a.pha", "$(alpha) [x", *["filler"] * 300, "last alpha"]
    browser.open(Report("x", CREATED, boots=(boot_with_console(tmp_path, lines),)), tmp_path)
    browser.one("body").send_keys("/")
    box = browser.driver.switch_to.active_element
    box.send_keys("alpha")
    browser.wait_for_text(".search output", "1 of 5")
    assert browser.run("return document.querySelectorAll('mark').length") == 5
    assert browser.one("mark.now").text == "Alpha"
    box.send_keys(Keys.ENTER)
    browser.wait_for_text(".search output", "2 of 5")
    assert browser.one("mark.now").text == "ALPHA"
    box.send_keys(Keys.SHIFT, Keys.ENTER)
    browser.wait_for_text(".search output", "1 of 5")
    browser.one("button[data-step='-1']").click()
    browser.wait_for_text(".search output", "5 of 5")
    browser.wait_until_in_console("mark.now")
    browser.one("button[data-step='1']").click()
    browser.wait_for_text(".search output", "1 of 5")
    box.send_keys(Keys.ESCAPE)
    browser.wait_for_text(".search output", "")
    assert browser.run("return document.querySelectorAll('mark').length") == 0
    for text, count in [
        (".pha", "1 of 1"),
        ("(alpha) [", "1 of 1"),
        ("\\", "no hit"),
        ("x]", "no hit"),
    ]:
        box.clear()
        box.send_keys(text)
        browser.wait_for_text(".search output", count)
    box.clear()
    box.send_keys("beta")
    after = browser.run("return document.querySelector('.console').textContent")
    assert [line[12:] for line in after.split("\n") if line] == lines


def test_a_search_finds_what_a_hostile_guest_wrote_and_runs_none_of_it(
    browser: Browser, tmp_path: Path
) -> None:
    browser.open(whole_report(tmp_path), tmp_path)
    browser.one(".search input").send_keys("<img src=//example")
    browser.wait_for_text(".search output", "1 of 1")
    assert browser.one("mark.now").text == "<img src=//example"
    assert browser.run("return document.querySelectorAll('img').length") == 1


def test_ten_megabytes_of_a_hostile_console_stay_usable(browser: Browser, tmp_path: Path) -> None:
    lines = [f"line {number} {HOSTILE} needle" for number in range(55_000)]
    boot = boot_with_console(tmp_path, lines)
    assert (tmp_path / "console.log").stat().st_size > 10_000_000
    browser.open(Report("x", CREATED, boots=(boot,)), tmp_path)
    assert "left out here" in browser.one(".gap").text
    shown = browser.run("return document.querySelectorAll('.t').length")
    assert 1000 < shown < 20_000
    browser.one(".search input").send_keys("needle")
    browser.wait_for_text(".search output", f"1 of {shown}")
    browser.one(".search input").send_keys(Keys.SHIFT, Keys.ENTER)
    browser.wait_for_text(".search output", f"{shown} of {shown}")
    browser.wait_until_in_console("mark.now")
    assert "line 54999" in browser.one("mark.now").find_element(By.XPATH, "..").text


def test_were_something_not_escaped_the_policy_would_stop_it(
    browser: Browser, tmp_path: Path
) -> None:
    path = write_report(whole_report(tmp_path), tmp_path / "report.html")
    text = path.read_text(encoding="utf-8")
    evil = (
        "<script>window.hacked = 1</script><img src=http://127.0.0.1:9/x onerror=window.hacked=1>"
        "<iframe src=http://127.0.0.1:9/></iframe><p style='color: red' onclick=hacked=1>x</p>"
        "<link rel=stylesheet href=http://127.0.0.1:9/x><form action=http://127.0.0.1:9/></form>"
    )
    assert text.count("<main>") == 1
    path.write_text(text.replace("<main>", f"<main>{evil}"), encoding="utf-8")
    browser.driver.get(path.as_uri())
    assert browser.run("return window.hacked") is None
    color = "return getComputedStyle(document.querySelector('main > p')).color"
    assert browser.run(color) != "rgb(255, 0, 0)"
    refused = browser.messages()
    assert len([message for message in refused if "Content Security Policy" in message]) >= 5
    browser.one(".search input").send_keys("Started")
    browser.wait_for_text(".search output", "1 of 300")


def test_a_link_opens_the_machine_of_a_test(browser: Browser, tmp_path: Path) -> None:
    browser.open(whole_report(tmp_path), tmp_path)
    assert browser.run("return document.querySelector('#boot-2').open") is False
    browser.one("a[href='#boot-2']").click()
    wait = WebDriverWait(browser.driver, _LIMIT_S)
    wait.until(lambda _: browser.run("return document.querySelector('#boot-2').open"))


def test_long_lines_of_a_failure_leave_the_machines_their_room(
    browser: Browser, tmp_path: Path
) -> None:
    name = "tests/test_image.py::test_a"
    names = (name, f"{name} (run 2)", "shared_machine", "x" * 200)
    browser.open(
        Report(
            "x",
            CREATED,
            tests=(TestEntry(name, TestOutcome.IMAGE, 1.5, "a_long_line_" * 1000),),
            boots=tuple(BootEntry(machine, tests=(name,)) for machine in names),
        ),
        tmp_path,
    )
    assert browser.one("td.machines").text.splitlines()[:3] == [
        "its own",
        "its own (run 2)",
        "shared_machine",
    ]
    for width in (1200, 700, 400):
        browser.show(width=width)
        part = "return document.querySelector('td.machines').offsetWidth / innerWidth"
        assert width < 640 or browser.run(part) > 0.18
        assert browser.run("return document.documentElement.scrollWidth <= innerWidth")


def test_printed_it_shows_the_end_of_a_console_and_not_all_of_it(
    browser: Browser, tmp_path: Path
) -> None:
    report = whole_report(tmp_path)
    browser.open(replace(report, boots=report.boots[:1]), tmp_path)
    browser.show(width=800, media="print")
    shown = """
        return Array.from(document.querySelectorAll('.l'))
            .filter((line) => line.checkVisibility()).length;
    """
    assert 60 < browser.run(shown) < 120
    assert browser.one(".l.sign").is_displayed()
    assert not browser.one(".search").is_displayed()
    printed = browser.send("Page.printToPDF")
    assert len(printed["data"]) > 1000
