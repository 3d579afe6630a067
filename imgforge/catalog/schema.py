"""The catalog's database: opened, an older one brought up, and what its errors mean."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from imgforge.catalog.schema_steps import STEPS
from imgforge.errors import HostError

_APPLICATION_ID = 0x696D6766  # "imgf", for file(1)
_BUSY_LIMIT_S = 60.0

SCHEMA_VERSION = len(STEPS)


def open_database(path: Path) -> sqlite3.Connection:
    """Open the catalog's database; make it, or bring it up to this version, where needed.

    Where this user may only read it, it is opened for reading. Raises HostError where it is
    damaged, no catalog, newer than this program, or cannot be read.
    """
    if is_read_only(path):
        return _open_to_read(path)
    with told(path):
        connection = sqlite3.connect(path, timeout=_BUSY_LIMIT_S, isolation_level=None)
        try:
            connection.row_factory = sqlite3.Row
            version = _check_is_ours(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
            # In WAL mode only FULL keeps what was acknowledged through a power cut.
            connection.execute("PRAGMA synchronous = FULL")
            if version < SCHEMA_VERSION:
                _bring_up(connection)
            # Only now: a step makes tables anew that others refer to (sqlite.org/lang_altertable).
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
    return connection


def is_read_only(path: Path) -> bool:
    """Tell whether a database is there that this user may not write to."""
    return path.exists() and not (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK))


def _open_to_read(path: Path) -> sqlite3.Connection:
    # Without -wal nobody has it open who writes: no lock is needed, nor could one be made.
    is_alone = not path.with_name(f"{path.name}-wal").exists()
    options = "immutable=1" if is_alone else "mode=ro"
    with told(path):
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?{options}",
            uri=True,
            timeout=_BUSY_LIMIT_S,
            isolation_level=None,
        )
        try:
            connection.row_factory = sqlite3.Row
            version = _check_is_ours(connection, path)
        except BaseException:
            connection.close()
            raise
    if version < SCHEMA_VERSION:
        connection.close()
        raise HostError(
            f"Catalog database {path}: has schema {version} of an older imgforge, and this user "
            f"may not bring it up to {SCHEMA_VERSION}.",
            hint="Let who owns it run any command of this imgforge, such as imgforge images.",
        )
    return connection


def _check_is_ours(connection: sqlite3.Connection, path: Path) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    application_id = connection.execute("PRAGMA application_id").fetchone()[0]
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application_id != _APPLICATION_ID and (tables or version or application_id):
        raise HostError(
            f"Catalog database {path}: is an SQLite database of another program.",
            hint="Move it away; imgforge then starts a new catalog.",
        )
    if version > SCHEMA_VERSION:
        raise HostError(
            f"Catalog database {path}: has schema {version}, written by a newer imgforge; "
            f"this one knows schemas up to {SCHEMA_VERSION}.",
            hint="Update imgforge.",
        )
    return version


def _bring_up(connection: sqlite3.Connection) -> None:
    with transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for statements in STEPS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")


@contextlib.contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all of it or nothing; others wait from the start on (BEGIN IMMEDIATE)."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into sentences about the file `path` (sqlite.org/rescode.html)."""
    try:
        yield
    except sqlite3.Error as error:
        reason, hint = _explain(getattr(error, "sqlite_errorname", ""))
        raise HostError(f"Catalog database {path}: {reason} ({error}).", hint=hint) from error


def _explain(name: str) -> tuple[str, str]:
    match name.split("_")[1] if "_" in name else "":
        case "NOTADB" | "CORRUPT":
            hint = "Put a copy of it back, or move it away: a new one is made. Blobs stay."
            return "is damaged, or no SQLite database", hint
        case "FULL":
            return "no space is left on its file system", "Free some, and try again."
        case "READONLY" | "CANTOPEN" | "PERM" | "AUTH":
            return "cannot be written to", "Look at the owner and mode of its folder."
        case "BUSY" | "LOCKED":
            return f"another process held it for {_BUSY_LIMIT_S:g} s", "Try again."
        case _:
            return "failed", ""
