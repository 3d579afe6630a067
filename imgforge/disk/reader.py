"""Reading files out of a disk without mounting it: any file system GRUB 2 knows, by grub-fstest."""

from pathlib import Path

from imgforge.command import run
from imgforge.disk.partition import Partition
from imgforge.errors import BadInputError, CommandError

_TIMEOUT_S = 60
_LARGEST_BYTES = 2**29
_NOT_THERE = (b"not found", b"unknown filesystem", b"no such partition", b"not a regular file")


def extract_file(
    disk: Path,
    *,
    partition: Partition | None,
    path: str,
    destination: Path,
    limit_bytes: int = _LARGEST_BYTES,
) -> bool:
    """Copy the file `path` of a partition, or of the whole disk, to `destination`.

    Returns whether it is there: no file system, no such path or a folder are all "no". Symlinks
    are followed inside the file system. Raises BadInputError where the file system is damaged, or
    the file is longer than `limit_bytes`: a sparse one could fill the host's disk.
    """
    place = "loop0"
    if partition is not None:
        place += f",{'gpt' if partition.scheme == 'gpt' else 'msdos'}{partition.number}"
    try:
        completed = run(
            "grub-fstest",
            [
                "-n",
                str(limit_bytes + 1),
                disk.absolute(),
                "cp",
                f"({place}){path}",
                destination.absolute(),
            ],
            timeout_s=_TIMEOUT_S,
            accepted_exit_codes=range(256),
        )
    except CommandError as error:
        destination.unlink(missing_ok=True)
        raise BadInputError(f"Disk {disk}: {path} cannot be read: {error}") from error
    if completed.exit_code == 0 and destination.stat().st_size <= limit_bytes:
        return True
    destination.unlink(missing_ok=True)
    if completed.exit_code == 0:
        raise BadInputError(f"Disk {disk}: {path} is longer than {limit_bytes} bytes.")
    if any(text in completed.stderr for text in _NOT_THERE):
        return False
    said = completed.stderr.decode(errors="replace").strip() or "grub-fstest gave no reason"
    raise BadInputError(f"Disk {disk}: {path} cannot be read: {said}.")
