"""Things of a name, each a record and a file of bytes, that change whole or not at all.

Any number of processes may use a shelf at once: what one put is there for all, and a kill loses
nothing of what was put.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from imgforge.files import locked_folder, sync_folder

Record = dict[str, Any]
_RECORD = ".json"
_BLOB = ".blob"
_NAME = "name"
_FILE = "blob"


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of such things. Each stands under the SHA-256 of its name, which may be any text."""

    folder: Path

    def put(
        self,
        name: str,
        record: Record,
        blob: Path,
        *,
        allow: Callable[[Record | None], None] = lambda _: None,
    ) -> None:
        """Put a thing in the place of what has its name; `blob` is moved, and already on the disk.

        `allow` may raise over what stands there, and nothing changes meanwhile.
        """
        key = _key(name)
        own = f"{key}.{secrets.token_hex(8)}{_BLOB}"
        with locked_folder(self.folder):
            allow(self.find(name))
            blob.rename(self.folder / own)
            # The bytes have their place before anything names them.
            sync_folder(self.folder)
            self._write(key, {**record, _NAME: name, _FILE: own})
            self._sweep(key, own)

    def change(self, name: str, more: Record) -> bool:
        """Change a thing's record, not its bytes; tell whether it is there."""
        with locked_folder(self.folder):
            record = self.find(name)
            if record is not None:
                self._write(_key(name), {**record, **more})
        return record is not None

    def remove(self, name: str) -> bool:
        """Take a thing away; tell whether it was there."""
        key = _key(name)
        with locked_folder(self.folder):
            path = self.folder / (key + _RECORD)
            there = path.exists()
            path.unlink(missing_ok=True)
            sync_folder(self.folder)
            self._sweep(key, "")
        return there

    def find(self, name: str) -> Record | None:
        """Return a thing's record."""
        return _read(self.folder / (_key(name) + _RECORD))

    def names(self) -> list[str]:
        """Return all names, in the order of their bytes in UTF-8."""
        return [str(record[_NAME]) for record in self.records()]

    def records(self) -> list[Record]:
        """Return all records, by name."""
        found = (_read(path) for path in self.folder.glob("*" + _RECORD))
        return sorted(
            (record for record in found if record is not None),
            key=lambda record: str(record[_NAME]).encode("utf-8", "surrogatepass"),
        )

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[tuple[Record, BinaryIO] | None]:
        """Give a thing's record with its bytes, which stay whatever becomes of its name."""
        while (record := self.find(name)) is not None:
            try:
                file = (self.folder / str(record[_FILE])).open("rb")
            except FileNotFoundError:
                if self.find(name) == record:  # not replaced meanwhile: the folder is damaged
                    raise
                continue
            with file:
                yield record, file
            return
        yield None

    def _write(self, key: str, record: Mapping[str, Any]) -> None:
        new = self.folder / f"{key}.{secrets.token_hex(8)}.new"
        with new.open("x", encoding="utf-8") as file:
            json.dump(record, file, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        new.rename(self.folder / (key + _RECORD))
        sync_folder(self.folder)

    def _sweep(self, key: str, kept: str) -> None:
        """Remove what no record names any more, a kill's leavings among it."""
        for path in self.folder.glob(key + ".*"):
            if path.suffix in {_BLOB, ".new"} and path.name != kept:
                path.unlink(missing_ok=True)


def _key(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()


def _read(path: Path) -> Record | None:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return record if isinstance(record, dict) else None
