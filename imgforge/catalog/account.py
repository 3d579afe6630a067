"""EC2 as its callers see it: an action and its parameters in, a result or a refusal out."""

import json
import sqlite3
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from imgforge.aki import AKIS
from imgforge.catalog.actions import ACTIONS
from imgforge.catalog.actions.action import Access, Action
from imgforge.catalog.bundle_facts import BundleFacts
from imgforge.catalog.contents import Contents
from imgforge.catalog.image import LOCAL_OWNER_ID
from imgforge.catalog.import_source import ImportSource
from imgforge.catalog.life_facts import FindKey
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.schema import is_read_only, open_database, told, transaction
from imgforge.catalog.session import AMAZON_ID, Parameters, Session, request_sha256
from imgforge.catalog.sweep import Swept, sweep
from imgforge.errors import HostError
from imgforge.files import locked_folder
from imgforge.partition import partition_of

_DEFAULT_PENDING_S = 1.0


class Account:
    """The catalog in `folder`, as EC2: of `owner_id` where a caller names no account of its own.

    A context manager; may be asked by several threads, and under several processes, at once. What
    was answered is kept through a kill.
    """

    def __init__(
        self,
        folder: Path,
        *,
        regions: Sequence[str],
        owner_id: str = LOCAL_OWNER_ID,
        pending_s: float = _DEFAULT_PENDING_S,
        find_key: FindKey | None = None,
    ) -> None:
        self.folder = folder
        self.regions = tuple(regions)
        self.owner_id = owner_id
        self._pending_s = pending_s
        self._find_key = find_key
        self._database = folder / "catalog.sqlite3"
        self._contents = Contents(folder)
        self._mine = threading.local()
        self._opened: list[sqlite3.Connection] = []
        self._turn = threading.Lock()

    def __enter__(self) -> Self:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            connection = self._connection()
            self._contents.__enter__()
        except OSError as error:
            raise HostError(
                f"Catalog {self.folder}: cannot be opened: {error.strerror}.",
                hint="It has to be a folder of yours. Another one: XDG_DATA_HOME, or --catalog of "
                "imgforge serve.",
            ) from error
        if not is_read_only(self._database):
            with told(self._database), transaction(connection):
                _insert_akis(connection)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._contents.__exit__(kind, error, trace)
        with self._turn:
            for connection in self._opened:
                with suppress(sqlite3.Error):
                    connection.close()
            self._opened.clear()

    @staticmethod
    def require(name: str) -> Action:
        """Return an action. Raises RefusedError for one of EC2's that is not answered here."""
        action = ACTIONS.get(name)
        if action is None:
            raise RefusedError(
                "UnsupportedOperation", f"The action {name} is not answered by this endpoint."
            )
        return action

    def perform(
        self,
        name: str,
        parameters: Parameters,
        *,
        region: str,
        account_id: str | None = None,
        bundle: BundleFacts | None = None,
        source: ImportSource | None = None,
    ) -> Mapping[str, Any]:
        """Do what an action asks, and return its result by the names of EC2's model.

        `bundle` is what an ImageLocation leads to, read and verified, `source` what a DiskContainer
        names.

        Raises RefusedError where EC2 would refuse, HostError where the database fails.
        """
        action = self.require(name)
        session = Session(
            connection=self._connection(),
            folder=self.folder,
            region=region,
            owner_id=account_id or self.owner_id,
            now=datetime.now(UTC),
            pending_s=self._pending_s,
            contents=self._contents,
            bundle=bundle,
            source=source,
            regions=_of_partition(self.regions, region),
            find_key=self._find_key,
        )
        with told(self._database):
            if action.access is Access.OWN:
                return action.do(session, parameters)
            if action.access is Access.READ:
                found = action.do(session, parameters)
                _end_dry_run(parameters)
                return found
            with transaction(session.connection):
                result = _once(session, name, parameters)
                _end_dry_run(parameters)  # what was changed is taken back
                return result

    def sweep(self, *, limit_s: float) -> Swept | None:
        """Take away the data that nothing refers to; None where others wrote all the while."""
        with told(self._database):
            return sweep(self.folder, self._contents, self._connection(), limit_s=limit_s)

    def _connection(self) -> sqlite3.Connection:
        found: sqlite3.Connection | None = getattr(self._mine, "connection", None)
        if found is None:
            with locked_folder(self.folder):
                found = open_database(self._database)
            self._mine.connection = found
            with self._turn:
                self._opened.append(found)
        return found


def _end_dry_run(parameters: Parameters) -> None:
    if parameters.get("DryRun"):
        raise RefusedError(
            "DryRunOperation",
            "Request would have succeeded, but DryRun flag is set.",
            status=412,
        )


def _once(session: Session, name: str, parameters: Parameters) -> Mapping[str, Any]:
    """Do it, or return what the same request with the same token gave before (EC2: idempotency)."""
    token = parameters.get("ClientToken")
    if not token:
        return ACTIONS[name].do(session, parameters)
    where = (session.owner_id, session.region, name, token)
    digest = request_sha256(parameters)
    before = session.row(
        "SELECT request_sha256, result_json FROM request_tokens"
        " WHERE owner_id = ? AND region = ? AND action = ? AND token = ?",
        *where,
    )
    if before is not None:
        if before["request_sha256"] != digest:
            message = "The client token was used before, with other parameters."
            if name == "StartSnapshot":  # of EBS direct
                raise RefusedError("ConflictException", message, status=409)
            raise RefusedError("IdempotentParameterMismatch", message)
        result: Mapping[str, Any] = json.loads(before["result_json"])
        return result
    result = ACTIONS[name].do(session, parameters)
    names = ("owner_id", "region", "action", "token")
    row = dict(zip(names, where, strict=True))
    kept = {"request_sha256": digest, "result_json": json.dumps(result)}
    session.insert("request_tokens", {**row, **kept})
    return result


def _of_partition(regions: Iterable[str], region: str) -> tuple[str, ...]:
    """Return the regions that accounts of a region know: those of its partition."""
    here = partition_of(region)
    return tuple(name for name in regions if partition_of(name) == here)


def _insert_akis(connection: sqlite3.Connection) -> None:
    """Let Amazon's PV-GRUBs exist, each in its region ("User Provided Kernels")."""
    connection.executemany(
        "INSERT OR IGNORE INTO images (image_id, region, owner_id, owner_alias, name, description,"
        " image_type, image_location, architecture, virtualization_type, root_device_name,"
        " root_device_type, ena_support, public, state, creation_date)"
        " VALUES (?, ?, ?, 'amazon', ?, ?, 'kernel', ?, ?, 'paravirtual', '',"
        " 'instance-store', 0, 1, 'available', '2016-06-27T00:00:00.000Z')",
        [
            (
                aki.aki_id,
                aki.region,
                AMAZON_ID,
                aki.pv_grub.name,
                f"PV-GRUB release {aki.pv_grub.release}, {aki.pv_grub.architecture.bits}-bit",
                f"ec2-public-images-{aki.region}/{aki.pv_grub.name}.manifest.xml",
                aki.pv_grub.architecture,
            )
            for aki in AKIS
        ],
    )
