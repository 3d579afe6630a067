"""Consoles of real boots that were accepted: they show their stages, and no sign at all."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgforge.acceptance.outside_signs import Heard, sign_of_silence
from imgforge.acceptance.record import BootMethod, StageName
from imgforge.acceptance.watch import Watch
from imgforge.machine import ConsoleBytes, ConsoleLine

CONSOLES = sorted((Path(__file__).parents[1] / "data" / "consoles").glob("*.log"))
_LINE = re.compile(r"\[ *(?P<at_s>\d+\.\d+)\] ?(?P<text>.*)")


def events(log: Path) -> Iterator[ConsoleLine]:
    for line in log.read_text(encoding="utf-8").splitlines():
        found = _LINE.fullmatch(line)
        assert found, line
        yield ConsoleLine(float(found["at_s"]), found["text"])


@pytest.mark.parametrize("log", CONSOLES, ids=lambda log: log.stem)
def test_a_healthy_console_shows_no_sign_and_no_cause(log: Path) -> None:
    watch = Watch(boot_method=BootMethod.BIOS if "hvm" in log.stem else BootMethod.DIRECT)
    for event in events(log):
        watch.take(ConsoleBytes(event.at_s, event.text))
        watch.take(event)
        assert watch.settles_at_s is None, event.text
    silence = sign_of_silence(Heard(""), at_s=999.0, limit_s=60)
    assert watch.explain(silence) == silence
    assert watch.host_keys


@pytest.mark.parametrize("log", CONSOLES, ids=lambda log: log.stem)
def test_a_healthy_console_shows_its_stages_in_their_order(log: Path) -> None:
    watch = Watch(boot_method=BootMethod.BIOS if "hvm" in log.stem else BootMethod.DIRECT)
    for event in events(log):
        watch.take(event)
    seconds = [stage.seconds for stage in watch.stages.stages() if stage.seconds is not None]
    assert seconds == sorted(seconds)
    names = {stage.name for stage in watch.stages.stages() if stage.reached}
    assert StageName.NETWORK in names
    assert (StageName.CLOUD_INIT in names) == ("debian" in log.stem)
