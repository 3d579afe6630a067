"""What moto knows of keys and people, kept in a file: moto itself has it in this process's memory.

Each request reads the file, and writes it anew where anything changed, before it is answered: so
nothing that was answered is lost by a kill, and any number of processes may ask at once. The file
is read as a pickle that can hold nothing but moto's own records.
"""

import io
import pickle
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import moto
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from moto.core.model_instances import reset_model_data
from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.sts.models import sts_backends

from imgforge.errors import HostError
from imgforge.files import appearing, locked_folder

_TURN = threading.Lock()  # moto's records are this process's, not an object's
_BACKENDS: dict[str, Any] = {"kms": kms_backends, "iam": iam_backends, "sts": sts_backends}
_PLAIN = {
    ("builtins", "set"),
    ("builtins", "frozenset"),
    ("builtins", "bytearray"),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("copyreg", "_reconstructor"),
    ("datetime", "datetime"),
    ("datetime", "timedelta"),
    ("datetime", "timezone"),
    ("re", "_compile"),
    (__name__, "load_key"),
}
_LOADED = re.compile(r"moto\.(core|iam|kms|sts|utilities)(\.\w+)*")


class MotoState:
    """The records of KMS, IAM and STS below `folder`; safe between threads and processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "state.pickle"

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Have these records in moto's memory, for nobody else, while the block runs.

        What it changes is on the disk when it ends, and forgotten where it fails. Raises HostError
        where the file cannot be read or written.
        """
        with _TURN, self._locked():
            self._load()
            before = _dumped()
            yield
            after = _dumped()
            if after != before:
                with appearing(self._file) as new:
                    new.touch(0o600)
                    new.write_bytes(after)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Not the folder itself: what appears in it locks that.
            turn = self._folder / "turn"
            turn.mkdir(exist_ok=True)
        except OSError as error:
            raise HostError(f"Folder {self._folder}: cannot be made: {error.strerror}.") from error
        with locked_folder(turn):
            yield

    def _load(self) -> None:
        for backends in _BACKENDS.values():
            backends.clear()
        reset_model_data()  # moto remembers each record that was ever made
        try:
            content = self._file.read_bytes()
        except FileNotFoundError:
            return
        try:
            kept = _Reader(io.BytesIO(content)).load()
            for service, accounts in kept["services"].items():
                for account, places in accounts.items():
                    for place, backend in places.items():
                        _BACKENDS[service][account][place] = backend
        except Exception as error:  # a pickle of anything can raise anything
            raise HostError(
                f"Keys and users, {self._file}: cannot be read: {type(error).__name__}.",
                hint=f"Put a copy of it back, or move it away; this is moto {moto.__version__}.",
            ) from error


def _dumped() -> bytes:
    services = {
        name: {account: dict(places) for account, places in backends.items()}
        for name, backends in _BACKENDS.items()
    }
    content = io.BytesIO()
    _Writer(content, protocol=5).dump({"moto": moto.__version__, "services": services})
    return content.getvalue()


def load_key(content: bytes) -> Any:
    """Return a private key of its DER."""
    return serialization.load_der_private_key(content, None)


class _Writer(pickle.Pickler):
    """Writes private keys as DER: OpenSSL's own objects cannot be kept."""

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
            form = serialization.PrivateFormat.PKCS8
            nobody = serialization.NoEncryption()
            return load_key, (thing.private_bytes(serialization.Encoding.DER, form, nobody),)
        return NotImplemented


class _Reader(pickle.Unpickler):
    """Reads moto's records, and nothing that could do something else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _PLAIN:
            return super().find_class(module, name)
        found = super().find_class(module, name) if _LOADED.fullmatch(module) else None
        if isinstance(found, type) and _LOADED.fullmatch(found.__module__):
            return found
        raise pickle.UnpicklingError(f"{module}.{name} is none of moto's records")
