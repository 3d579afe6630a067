"""Imports as whoever does them sees them: which are open, and what becomes of one."""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from imgforge.catalog import blobs, records
from imgforge.catalog.import_source import ImportSource, ImportTask
from imgforge.catalog.rules import size_gib
from imgforge.catalog.schema import open_database, told, transaction
from imgforge.catalog.session import iso, iso_of_s, new_id
from imgforge.catalog.sweep_lock import referring

if TYPE_CHECKING:
    from imgforge.disk import Disk


class ImportTasks:
    """The imports of the catalog in `folder`, of all accounts and regions."""

    def __init__(self, folder: Path, *, pending_s: float) -> None:
        self.folder = folder
        self._pending_s = pending_s
        self._database = folder / "catalog.sqlite3"

    def open(self) -> list[ImportTask]:
        """Return those that are to be done, the oldest first."""
        with told(self._database), closing(open_database(self._database)) as connection:
            rows = connection.execute(
                "SELECT * FROM import_tasks WHERE status = 'active' ORDER BY rowid"
            ).fetchall()
        return [
            ImportTask(
                row["import_task_id"],
                ImportSource(row["bucket"], row["key"], row["etag"], row["size_bytes"]),
                row["format"],
            )
            for row in rows
        ]

    def progress(self, task: ImportTask, message: str, percent: int) -> bool:
        """Write down how far an import is; tell whether it is still wanted."""
        return self._change(task, status="active", message=message, percent=percent)

    def fail(self, task: ImportTask, message: str) -> None:
        """Write down why an import cannot be done."""
        self._change(task, status="deleted", message=message, percent=0)

    def _change(self, task: ImportTask, *, status: str, message: str, percent: int) -> bool:
        with told(self._database), closing(open_database(self._database)) as connection:
            done = connection.execute(
                "UPDATE import_tasks SET status = ?, status_message = ?, progress = ?"
                " WHERE import_task_id = ? AND status = 'active'",
                (status, message, percent, task.import_task_id),
            )
            return done.rowcount > 0

    def complete(self, task: ImportTask, path: Path) -> None:
        """Make the snapshot of the raw disk `path`; none where the import was given up."""
        from imgforge.disk import Disk  # it takes a fifth of a second, and few import

        disk = Disk(path, blobs.file_sha256(path), path.stat().st_size)
        with (
            referring(self.folder),
            told(self._database),
            closing(open_database(self._database)) as connection,
        ):
            blobs.store_blob(self.folder, disk)
            self._insert_completed(connection, task, disk)

    def _insert_completed(
        self, connection: sqlite3.Connection, task: ImportTask, disk: "Disk"
    ) -> None:
        with transaction(connection):
            row = connection.execute(
                "SELECT * FROM import_tasks WHERE import_task_id = ? AND status = 'active'",
                (task.import_task_id,),
            ).fetchone()
            if row is not None:
                snapshot_id = self._insert(connection, row, disk)
                connection.execute(
                    "UPDATE import_tasks SET status = 'completed', status_message = NULL,"
                    " progress = 100, snapshot_id = ? WHERE import_task_id = ?",
                    (snapshot_id, task.import_task_id),
                )

    def _insert(self, connection: sqlite3.Connection, row: sqlite3.Row, disk: "Disk") -> str:
        now = datetime.now(UTC)
        ready_at_s = now.timestamp() + self._pending_s
        snapshot_id = new_id("snap")
        words = f"Created by AWS-VMImport service for {row['import_task_id']}"
        records.insert(
            connection,
            "snapshots",
            {
                "snapshot_id": snapshot_id,
                "region": row["region"],
                "owner_id": row["owner_id"],
                "volume_size_gib": size_gib(disk.size_bytes),
                "state": "completed",
                "start_time": iso(now),
                "completion_time": iso_of_s(ready_at_s),
                "description": words,
                "encrypted": row["kms_key_id"] is not None,
                "kms_key_id": row["kms_key_id"],
                "blob_sha256": disk.sha256,
                "blob_size_bytes": disk.size_bytes,
                "ready_at_s": ready_at_s,
            },
        )
        return snapshot_id
