"""Standard output and error that outlast whoever reads them.

`imgforge preflight … | head -1` ends with the exit code of what was found: what nobody reads any
more is dropped, and the command goes on to its end.
"""

import io
import sys
from typing import Any, TextIO


class LastingFile(io.FileIO):
    """A descriptor that takes what is written although its reader has gone."""

    def write(self, data: Any) -> int:
        """Write bytes; return how many are dealt with."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def outlast_readers() -> None:
    """Let this process's standard output and error go on where nobody reads them any more."""
    # One that was closed from the start is None.
    if sys.stdout is not None:
        sys.stdout = _lasting(sys.stdout)
    if sys.stderr is not None:
        sys.stderr = _lasting(sys.stderr)


def _lasting(stream: TextIO) -> TextIO:
    file = LastingFile(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(file),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=bool(stream.line_buffering),
    )
