"""Imports being done: a disk image in the local S3 becomes a snapshot, by qemu-img.

They go on where a kill or an end stopped them, one at a time.
"""

import json
import os
import struct
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from imgforge import command
from imgforge.catalog import ImportSource, ImportTask, ImportTasks, RefusedError
from imgforge.command import Setting
from imgforge.ec2.local.buckets import Buckets
from imgforge.errors import CommandError, ImgforgeError
from imgforge.files import locked_folder, scratch_folder
from imgforge.progress import warn

_QEMU_NAMES = {"RAW": "raw", "VMDK": "vmdk", "VHD": "vpc"}
_MOST_BYTES = 16 * 2**40
_TIMEOUT_S = 24 * 3600.0
_INFO_TIMEOUT_S = 60.0
_SECTOR_BYTES = 512
# VMware, Virtual Disk Format 5.0: SparseExtentHeader, as far as it matters here.
_VMDK_HEADER = struct.Struct("<4sIIQQQQ")
_MOST_DESCRIPTOR_BYTES = 2**20


class _UnfitError(Exception):
    """The object is no disk image that can be imported."""


@dataclass(slots=True)
class Imports:
    """Does what ImportSnapshot asks for, in a thread that starts with the first of it."""

    tasks: ImportTasks
    buckets: Buckets
    is_ending: threading.Event
    _thread: threading.Thread | None = None
    _is_woken: threading.Event | None = None

    def source(self, asked: ImportSource, *, region: str) -> ImportSource:
        """Return the object as it is now. Raises RefusedError where it is not to be had."""
        bucket = self.buckets.find(asked.bucket)
        if bucket is None:
            raise RefusedError("InvalidParameter", "The given S3 bucket does not exist.")
        if bucket.region != region:
            raise RefusedError(
                "InvalidParameter", "The given S3 object is not local to the region."
            )
        record = self.buckets.objects(asked.bucket).find(asked.key)
        if record is None:
            raise RefusedError("InvalidParameter", "The given S3 object does not exist.")
        return ImportSource(asked.bucket, asked.key, str(record["etag"]), int(record["size_bytes"]))

    def resume(self) -> None:
        """Go on with what an earlier process left."""
        if self.tasks.open():
            self.wake()

    def wake(self) -> None:
        """Look for what is to be done."""
        if self._is_woken is None:
            self._is_woken = threading.Event()
        self._is_woken.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="imports", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        woken = self._is_woken
        assert woken is not None
        folder = self.tasks.folder / "imports"
        folder.mkdir(exist_ok=True)
        turn = folder / "turn"
        turn.mkdir(exist_ok=True)
        while not self.is_ending.is_set():
            woken.wait()
            woken.clear()
            with locked_folder(turn):
                for task in self.tasks.open():
                    if not self.is_ending.is_set():
                        self._do(task, folder)

    def _do(self, task: ImportTask, folder: Path) -> None:
        try:
            with self.buckets.objects(task.source.bucket).opened(task.source.key) as found:
                if found is None or str(found[0]["etag"]) != task.source.etag:
                    raise _UnfitError(
                        "We do not have access to the given resource. Reason 404 Not Found"
                    )
                with scratch_folder(folder) as aside:
                    self._convert(task, found[1], aside / "disk")
        except _UnfitError as error:
            self.tasks.fail(task, f"ClientError: Disk validation failed [{error}]")
        except (ImgforgeError, OSError) as error:
            if not self.is_ending.is_set():
                warn(f"{task.import_task_id}: {error}")
                self.tasks.fail(task, "ServerError: an internal error has occurred.")

    def _convert(self, task: ImportTask, file: BinaryIO, disk: Path) -> None:
        kind = _QEMU_NAMES[task.format]
        source = f"/proc/self/fd/{file.fileno()}"
        setting = Setting(pass_fds=(file.fileno(),))
        _check_head(task.format, file)
        self.tasks.progress(task, "validating", 10)
        words = ["info", "--output=json", "-f", kind, source]
        try:
            shown = command.run("qemu-img", words, setting=setting, timeout_s=_INFO_TIMEOUT_S)
        except CommandError:
            raise _UnfitError("Unsupported disk image") from None
        told = json.loads(shown.stdout)
        if not 0 < told["virtual-size"] <= _MOST_BYTES or told.get("backing-filename"):
            raise _UnfitError("Unsupported disk image")
        if not self.tasks.progress(task, "converting", 30):
            return
        words = ["convert", "-f", kind, "-O", "raw", source, str(disk)]
        try:
            command.run("qemu-img", words, setting=setting, timeout_s=_TIMEOUT_S)
        except CommandError as error:
            raise _UnfitError(f"Cannot be converted: {str(error).splitlines()[0]}") from None
        if self.tasks.progress(task, "preparing snapshot", 90):
            self.tasks.complete(task, disk)


def _check_head(kind: str, file: BinaryIO) -> None:
    """Refuse what is no disk image, or one that names other files: those are this host's."""
    size_bytes = os.fstat(file.fileno()).st_size
    if not size_bytes:
        raise _UnfitError("Unsupported disk image: it is empty")
    if kind == "VMDK":
        head = os.pread(file.fileno(), _VMDK_HEADER.size, 0)
        if len(head) < _VMDK_HEADER.size or head[:4] != b"KDMV":
            raise _UnfitError("Unsupported VMDK: a sparse extent with its data is needed")
        capacity, _, start, count = _VMDK_HEADER.unpack(head)[3:]
        # Without a capacity qemu-img reads a descriptor, which names any file.
        length = min(count * _SECTOR_BYTES, _MOST_DESCRIPTOR_BYTES)
        offset = min(start * _SECTOR_BYTES, size_bytes)
        words = os.pread(file.fileno(), length, offset)
        if not capacity or b"parentFileNameHint" in words:
            raise _UnfitError("Unsupported VMDK: it is not whole")
