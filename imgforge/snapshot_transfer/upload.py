"""A disk becomes a snapshot, block by block; what is there already is never sent again."""

import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgforge import host
from imgforge.ec2 import Cloud, SnapshotStart, linear_checksum
from imgforge.errors import CloudError, HostError
from imgforge.progress import report, warn
from imgforge.snapshot_transfer.crew import Crew
from imgforge.snapshot_transfer.journal import (
    Entry,
    Journal,
    Told,
    create_journal,
    open_journal,
    read_journal,
)
from imgforge.snapshot_transfer.parent import NO_PARENT, find_parent
from imgforge.snapshot_transfer.place import alone, snapshot_journal, upload_journal
from imgforge.snapshot_transfer.pruning import prune_journals
from imgforge.snapshot_transfer.reading import check_blocks
from imgforge.snapshot_transfer.source import (
    ZEROS_SHA256,
    Source,
    identity_from,
    open_source,
)
from imgforge.snapshot_transfer.wish import (
    Again,
    Holes,
    SnapshotWish,
    UploadedSnapshot,
    Verifying,
    no_holes,
)

_FAR_WORKERS = 32
_SYNC_TICKS = 10
_TOKEN_LIMIT_S = 600.0
_NOT_COMPLETED = {"INVALID_PARAMETER_VALUE", "WRITE_REQUEST_TIMEOUT"}
"""Why EBS direct completes no snapshot, other than that it did so before."""
_TIMEOUT_MINUTES = 24 * 60
"""How long a snapshot waits for the next run."""
_USUAL = SnapshotWish()


def upload_snapshot(cloud: Cloud, disk: Path, wish: SnapshotWish = _USUAL) -> UploadedSnapshot:
    """Upload a raw disk as a snapshot, and return it when it is completed.

    What an earlier run of the same wish did stays: a snapshot that is still pending is gone on
    with if the disk is the same, one that is completed is told again. Raises BadInputError,
    CloudError, HostError; what was sent then stays for the next run.
    """
    with open_source(disk) as source:
        path = upload_journal(cloud, disk, wish.values())
        with alone(path, f"Disk {disk}: uploading it"):
            done = _Upload(cloud, source, wish, path).run()
    prune_journals(cloud)
    return done


class _Upload:
    """One upload."""

    def __init__(self, cloud: Cloud, source: Source, wish: SnapshotWish, path: Path) -> None:
        self._cloud = cloud
        self._blocks = cloud.blocks
        self._source = source
        self._wish = wish
        self._path = path
        self._parent = NO_PARENT
        self._ticks = 0

    def run(self) -> UploadedSnapshot:
        """Find out where an earlier run has come, and do the rest."""
        before = self._earlier()
        if before is not None and before.is_completed:
            report(f"upload: {before.snapshot_id} is there already, of this disk as it is")
            return self._end(before, kept=len(before.sent))
        if self._wish.parent_id:
            self._parent = find_parent(
                self._cloud, self._wish.parent_id, disk=self._source, crew=self._crew("read")
            )
            if self._parent.is_encrypted and self._wish.holes is Holes.SKIP:
                raise no_holes()
        kept = len(before.sent) if before is not None else 0
        with self._begin(before) as journal:
            told = read_journal(self._path)
            assert told is not None
            with self._staying(told):
                told = self._started(journal, told)
                self._send(journal, told)
                self._source.check_unchanged()
                self._complete(told)
                self._cloud.compute.wait_for_snapshot(told.snapshot_id)
            self._verify(told)
            journal.complete()
        self._keep_digests(told.snapshot_id)
        return self._result(told, kept=kept)

    @contextmanager
    def _staying(self, told: Told) -> Iterator[None]:
        """Say what stays of a snapshot where the block fails or is interrupted."""
        try:
            yield
        except BaseException:
            if told.snapshot_id:
                warn(
                    f"upload: {told.snapshot_id} stays, with {len(told.sent)} of "
                    f"{self._source.count} blocks sent: the same command goes on with it, and "
                    f"imgforge snapshots delete {told.snapshot_id} takes it away"
                )
            else:
                warn(
                    "upload: a snapshot may have been started: the same command finds it within "
                    f"{_TOKEN_LIMIT_S / 60:g} minutes, and it ends by itself within a day"
                )
            raise

    # Where an earlier run has come.

    def _earlier(self) -> Told | None:
        """Return what an earlier run did, as far as it can be gone on with."""
        told = read_journal(self._path)
        if told is None or self._wish.again is Again.NEW:
            if told is not None and told.snapshot_id and not told.is_completed:
                self._tell_left(told, "--new was given")
            return None
        if not told.snapshot_id:
            # Killed while it was started: the token gives the same one.
            is_fresh = 0 <= time.time() - float(told.head.get("began_s", 0)) < _TOKEN_LIMIT_S
            return told if is_fresh and self._is_same_disk(told) else None
        state = self._state_of(told.snapshot_id)
        if state not in {"pending", "completed"}:
            self._tell_left(told, f"it is {state}")
            return None
        if not self._is_same_disk(told):
            self._tell_left(told, "the disk is not what it was")
            return None
        if state == "completed" and not told.is_completed:
            # Killed after it was completed, which it is with all blocks or not at all.
            with open_journal(self._path) as journal:
                journal.complete()
            self._keep_digests(told.snapshot_id)
            told.is_completed = True
        if not told.is_completed:
            report(f"upload: going on with {told.snapshot_id}, {len(told.sent)} blocks are there")
        return told

    def _state_of(self, snapshot_id: str) -> str:
        try:
            return self._cloud.compute.snapshot(snapshot_id).state
        except CloudError as error:
            if error.code != "InvalidSnapshot.NotFound":
                raise
            return "gone"

    def _is_same_disk(self, told: Told) -> bool:
        before = identity_from(told.head.get("disk"))
        now = self._source.identity
        if before == now:
            return True
        if before is None or before.size_bytes != now.size_bytes:
            return False
        report("upload: the disk's file was touched; comparing it with what was sent")
        done = told.digests
        return all(self._source.block(number)[1] == digest for number, digest in done.items())

    def _tell_left(self, told: Told, why: str) -> None:
        if told.is_completed:
            report(f"upload: {why}, so {told.snapshot_id} stays as it is, and a new one is made")
        else:
            warn(
                f"upload: {told.snapshot_id} cannot be gone on with: {why}; a new snapshot is made."
                " The old one ends by itself within a day"
            )

    # The snapshot itself.

    def _begin(self, before: Told | None) -> Journal:
        if before is not None:
            return open_journal(self._path)
        head = {
            "token": secrets.token_hex(16),
            "began_s": time.time(),
            "disk": self._source.identity.values(),
            "path": str(self._source.path.resolve()),
            "wish": self._wish.values(),
        }
        return create_journal(self._path, head)

    def _started(self, journal: Journal, told: Told) -> Told:
        """Return what the journal tells, with the snapshot's id."""
        if told.snapshot_id:
            return told
        wish = self._wish
        started = self._blocks.start(
            SnapshotStart(
                volume_size_gib=self._source.volume_size_gib,
                token=str(told.head["token"]),
                description=wish.description,
                parent_id=wish.parent_id,
                is_encrypted=wish.is_encrypted,
                kms_key_arn=wish.kms_key_arn,
                timeout_minutes=_TIMEOUT_MINUTES,
                tags=wish.tags,
            )
        )
        if started.is_encrypted and wish.holes is Holes.SKIP:
            # The account encrypts all it makes.
            self._cloud.compute.delete_snapshot(started.snapshot_id)
            raise no_holes()
        told.snapshot_id = started.snapshot_id
        told.volume_size_gib = started.volume_size_gib
        journal.start(started.snapshot_id, volume_size_gib=started.volume_size_gib)
        report(f"upload: {started.snapshot_id}, {started.volume_size_gib} GiB")
        return told

    def _send(self, journal: Journal, told: Told) -> None:
        """Send what is not there yet, and write it down; `told` has it then, too."""
        crew = self._crew("upload")
        snapshot_id, parent = told.snapshot_id, self._parent.digests

        def send(number: int) -> int:
            data, sha256 = self._source.block(number)
            if parent.get(number) == sha256:
                journal.write(Entry.INHERITED, number, sha256)
                told.inherited[number] = sha256
                return 0
            crew.persist(number, lambda: self._blocks.put(snapshot_id, number, data, sha256=sha256))
            journal.write(Entry.SENT, number, sha256)
            told.sent[number] = sha256
            return len(data)

        numbers = list(self._missing(told))
        crew.each(send, numbers, total=len(numbers), tick=lambda: self._tick(journal))

    def _missing(self, told: Told) -> Iterator[int]:
        """Yield the blocks that are to be looked at, by ascending number."""
        done = told.sent.keys() | told.inherited.keys()
        for number in range(self._source.count):
            if number not in done and not self._is_left_out(number):
                yield number
        # What the parent has behind the disk's end is not the disk's.
        for number in sorted(self._parent.digests):
            behind = number >= self._source.count and number not in done
            if behind and self._parent.digests[number] != ZEROS_SHA256:
                yield number

    def _is_left_out(self, number: int) -> bool:
        return (
            self._wish.holes is Holes.SKIP
            and number in self._source.holes
            and number not in self._parent.digests
        )

    def _tick(self, journal: Journal) -> None:
        self._ticks += 1
        if self._ticks % _SYNC_TICKS == 0:
            journal.sync()

    def _complete(self, told: Told) -> None:
        """Complete the snapshot, unless a run that was killed has done so."""
        checksum = linear_checksum(told.sent[number] for number in sorted(told.sent))
        report(f"upload: completing {told.snapshot_id}")
        try:
            self._blocks.complete(told.snapshot_id, count=len(told.sent), checksum=checksum)
        except CloudError as error:
            if error.code != "ValidationException":
                raise
            # Of an earlier request whose answer was lost, it is completed with these blocks alone.
            if not self._becomes_completed(told.snapshot_id, error.reason):
                error.hint = (
                    "If it becomes completed yet, run the command again. Else something wrote to "
                    "it, or it has waited too long: --new makes a new one."
                )
                raise

    def _becomes_completed(self, snapshot_id: str, reason: str) -> bool:
        """Tell whether a snapshot that nothing is taken for any more becomes completed."""
        if reason in _NOT_COMPLETED:
            return self._state_of(snapshot_id) == "completed"
        try:
            self._cloud.compute.wait_for_snapshot(snapshot_id, limit_s=self._wish.patience_s)
        except (CloudError, HostError):
            return False
        return True

    def _verify(self, told: Told) -> None:
        if self._wish.verifying is not Verifying.READ_BACK:
            return
        report(f"upload: reading {told.snapshot_id} back")
        crew = self._crew("verify")
        check_blocks(self._blocks, told.snapshot_id, told.digests, crew=crew)

    def _keep_digests(self, snapshot_id: str) -> None:
        """Keep what the snapshot holds, for children of it."""
        link = snapshot_journal(self._cloud, snapshot_id)
        link.unlink(missing_ok=True)
        link.hardlink_to(self._path)

    # What is told.

    def _end(self, told: Told, *, kept: int) -> UploadedSnapshot:
        self._cloud.compute.wait_for_snapshot(told.snapshot_id)
        self._verify(told)
        return self._result(told, kept=kept)

    def _result(self, told: Told, *, kept: int) -> UploadedSnapshot:
        snapshot = self._cloud.compute.snapshot(told.snapshot_id)
        return UploadedSnapshot(
            snapshot_id=told.snapshot_id,
            region=self._cloud.region,
            volume_size_gib=told.volume_size_gib,
            is_encrypted=snapshot.is_encrypted,
            blocks_sent=len(told.sent) - kept,
            blocks_kept=kept,
            blocks_inherited=len(told.inherited),
            blocks_left_out=sum(1 for number in self._source.holes if number not in told.digests),
            parent_source=self._parent.source,
            is_verified=self._wish.verifying is Verifying.READ_BACK,
        )

    def _crew(self, verb: str) -> Crew:
        is_near = self._cloud.endpoint.is_near
        workers = 2 * host.cpu_count() if is_near else _FAR_WORKERS
        return Crew(verb, workers=workers, patience_s=self._wish.patience_s)
