"""The earlier boots of a recipe: a JSON-lines file that only grows, and is cut when it is long."""

import errno
import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from imgforge import host
from imgforge.files import appearing, lock_within
from imgforge.report.evidence import seconds_of
from imgforge.report.report import PastBoot

KEPT_BOOTS = 300
# Cut only now and then: most boots then cost one write.
_MOST_BOOTS = KEPT_BOOTS + 100
_LEAST_LINE_BYTES = 100
_LINE_LIMIT_BYTES = 4096
_MOST_BYTES = _MOST_BOOTS * _LINE_LIMIT_BYTES
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_STAGES_LIMIT = 20
_LOCK_LIMIT_S = 10.0  # it is held for milliseconds, unless its holder was stopped


def history_path(key: str) -> Path:
    """Return where the boots of a recipe are kept, in the data folder; `key` is its name."""
    if not _NAME.fullmatch(key):
        raise ValueError(f"{key!r} is no key of a history")
    return host.data_dir() / "history" / f"{key}.jsonl"


def read_history(path: Path) -> tuple[PastBoot, ...]:
    """Read the last few hundred boots, oldest first; none where there is no file.

    Lines that are torn, or are none of ours, are skipped.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _MOST_BYTES))
            lines = file.read().split(b"\n")
    except OSError:
        return ()
    boots = (_parse(line) for line in lines)
    return tuple(boot for boot in boots if boot is not None)[-KEPT_BOOTS:]


def append_boot(path: Path, boot: PastBoot) -> None:
    """Add a boot, whole, whoever else adds one now. Raises OSError where it cannot be written."""
    line = _line(boot)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        with path.open("a+b", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            if file.read(1) not in {b"", b"\n"}:
                line = b"\n" + line  # whoever wrote last was killed in the middle of it
            file.write(line)
            size += len(line)
        if size > _MOST_BYTES or (
            size > _MOST_BOOTS * _LEAST_LINE_BYTES and path.read_bytes().count(b"\n") > _MOST_BOOTS
        ):
            _shorten(path)


def _shorten(path: Path) -> None:
    boots = read_history(path)
    with appearing(path) as new:
        new.write_bytes(b"".join(map(_line, boots)))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    # A file of its own: that of the history is replaced when it is cut.
    lock = path.with_suffix(".lock")
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        if not lock_within(descriptor, fcntl.LOCK_EX, limit_s=_LOCK_LIMIT_S):
            raise OSError(errno.ETIMEDOUT, f"another process keeps {lock.name} locked")
        yield
    finally:
        os.close(descriptor)


def _line(boot: PastBoot) -> bytes:
    values = {
        "accelerator": boot.accelerator,
        "accepted": boot.accepted,
        "boot_method": boot.boot_method,
        "created": boot.created.isoformat(),
        "instance_type": boot.instance_type,
        "layout": boot.layout,
        "login_s": boot.login_s,
        "recipe_sha256": boot.recipe_sha256,
        "stages": dict(boot.stages),
    }
    return json.dumps(values, sort_keys=True).encode("ascii") + b"\n"


def _parse(line: bytes) -> PastBoot | None:
    if not line or len(line) > _LINE_LIMIT_BYTES:
        return None
    try:
        values = json.loads(line)
        if not isinstance(values, dict) or not isinstance(values["accepted"], bool):
            return None
        created = datetime.fromisoformat(values["created"])
        stages = values["stages"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if created.tzinfo is None:
        return None
    layout = str(values.get("layout", ""))
    known = [(str(name)[:40], seconds_of(seconds)) for name, seconds in stages]
    return PastBoot(
        created=created,
        accepted=values["accepted"],
        login_s=seconds_of(values.get("login_s")),
        stages=tuple(
            (name, seconds) for name, seconds in known[:_STAGES_LIMIT] if seconds is not None
        ),
        accelerator=str(values.get("accelerator", "")),
        layout=layout,
        boot_method=str(values.get("boot_method", _method_before(layout))),
        instance_type=str(values.get("instance_type", "")),
        recipe_sha256=str(values.get("recipe_sha256", "")),
    )


def _method_before(layout: str) -> str:
    """Return how a boot was started whose line is from before that was kept."""
    return "bios" if layout.startswith("hvm") else ""
