"""A completed snapshot is read back: all its blocks, each with its digest."""

from collections.abc import Callable

from imgforge.ec2 import Blocks, ListedBlock
from imgforge.errors import CloudError
from imgforge.snapshot_transfer.crew import Crew
from imgforge.snapshot_transfer.source import ZEROS_SHA256

Take = Callable[[int, bytes, bytes], None]
"""Is given a block's number, its data and its SHA-256."""


def list_blocks(blocks: Blocks, snapshot_id: str) -> tuple[int, dict[int, ListedBlock]]:
    """Return a snapshot's size in GiB, and its blocks by number. Raises CloudError."""
    size_gib, found = 0, {}
    for page in blocks.list(snapshot_id):
        size_gib = page.volume_size_gib
        found.update({block.number: block for block in page.blocks})
    return size_gib, found


def read_blocks(
    blocks: Blocks, snapshot_id: str, listed: dict[int, ListedBlock], *, crew: Crew, take: Take
) -> None:
    """Read blocks, in any order; `take` is called by several threads.

    Raises CloudError, HostError, and what `take` raises.
    """

    def fetch(number: int) -> int:
        data, sha256 = crew.persist(number, lambda: blocks.get(snapshot_id, listed[number]))
        take(number, data, sha256)
        return len(data)

    crew.each(fetch, sorted(listed), total=len(listed), tick=lambda: None)


def read_digests(blocks: Blocks, snapshot_id: str, *, crew: Crew) -> dict[int, bytes]:
    """Return the digests of all blocks that a snapshot has, by number: all of it is read."""
    digests: dict[int, bytes] = {}

    def take(number: int, _data: bytes, sha256: bytes) -> None:
        digests[number] = sha256

    _, listed = list_blocks(blocks, snapshot_id)
    read_blocks(blocks, snapshot_id, listed, crew=crew, take=take)
    return digests


def check_blocks(
    blocks: Blocks, snapshot_id: str, digests: dict[int, bytes], *, crew: Crew
) -> None:
    """Read a snapshot back and compare it. Raises CloudError for a block that is another."""
    _, listed = list_blocks(blocks, snapshot_id)
    needed = {number for number, digest in digests.items() if digest != ZEROS_SHA256}
    if missing := sorted(needed - listed.keys()):
        raise _wrong(snapshot_id, missing[0], "is missing")

    def take(number: int, _data: bytes, sha256: bytes) -> None:
        if sha256 != digests.get(number, ZEROS_SHA256):
            raise _wrong(snapshot_id, number, f"has the SHA-256 {sha256.hex()}")

    read_blocks(blocks, snapshot_id, listed, crew=crew, take=take)


def _wrong(snapshot_id: str, number: int, found: str) -> CloudError:
    return CloudError(
        f"Snapshot {snapshot_id}: its block {number} {found}, not what was sent.",
        code="WrongBlock",
        hint="Delete the snapshot, and upload the disk again with --new.",
    )
