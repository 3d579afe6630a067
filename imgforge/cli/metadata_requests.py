"""The requests a metadata service was asked, as they are shown and written down."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from imgforge.cli.terminal import stderr_console

if TYPE_CHECKING:
    from imgforge.metadata import MetadataRequest


@contextmanager
def told_requests(
    requests: Path | None, *, show: bool
) -> "Iterator[Callable[[MetadataRequest], None]]":
    """Yield what shows a request, and writes it to a file as a machine's metadata.jsonl has it."""
    from imgforge.progress import warn

    console = stderr_console()
    with ExitStack() as stack:
        log: FileIO | None = None
        if requests is not None:
            log = stack.enter_context(FileIO(requests, "w"))

        def tell(request: "MetadataRequest") -> None:
            nonlocal log
            if log is not None:
                line = json.dumps(asdict(request), sort_keys=True).encode() + b"\n"
                reason = _reason_not_to_write(log, line)
                if reason:
                    warn(f"File {requests}: cannot be written: {reason}. It gets no more requests.")
                    log = None  # it closes with the block
            if show:
                with suppress(OSError):  # whoever read it has gone
                    console.print(_line(request), markup=False, highlight=False, soft_wrap=True)

        yield tell


def _reason_not_to_write(log: FileIO, line: bytes) -> str:
    """Write a line at once; return why it is not there whole, "" where it is."""
    try:
        return "" if log.write(line) == len(line) else "no space is left"
    except OSError as error:
        return str(error.strerror)


def _line(request: "MetadataRequest") -> str:
    words = [
        f"{request.at_s:8.3f} s ",
        request.method,
        request.path,
        str(request.status) if request.status else "-",
        "IMDSv2" if request.token else "",
        f"[{request.fault}]" if request.fault else "",
        request.user_agent,
    ]
    return " ".join(word for word in words if word)
