"""imgforge as a person runs it: its console script, each time a process of its own."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from imgforge import host
from imgforge.command import Setting, Streams, run

_SCRIPT = Path(sys.executable).with_name("imgforge")
_TIMEOUT_S = 3600


def imgforge(
    *arguments: str | Path,
    scratch: Path,
    cache: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> float:
    """Run one command and return its seconds.

    Its catalog is in `scratch`; its cache is `cache`, by default the user's. `environment` is what
    it has beside that.
    """
    setting = _setting(scratch, cache, environment)
    return run(str(_SCRIPT), arguments, setting=setting, timeout_s=_TIMEOUT_S).seconds


def seconds_to(text: str, *arguments: str | Path, scratch: Path) -> float:
    """Run one command to its end; return the seconds until it showed `text` as progress."""
    shown_at: list[float] = []

    def look(line: str) -> None:
        if text in line:
            shown_at.append(time.monotonic())

    started = time.monotonic()
    streams = Streams(on_stderr=look)
    run(str(_SCRIPT), arguments, streams=streams, setting=_setting(scratch), timeout_s=_TIMEOUT_S)
    return shown_at[0] - started


def _setting(
    scratch: Path, cache: Path | None = None, environment: Mapping[str, str] | None = None
) -> Setting:
    return Setting(
        environment={
            "IMGFORGE_CACHE": str(cache or host.cache_dir()),
            "XDG_DATA_HOME": str(scratch / "data"),
            **(environment or {}),
        }
    )
