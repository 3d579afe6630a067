"""The NoCloud seed: what an instance is told without a metadata service, on a small ISO.

cloud-init's documentation ("NoCloud") has the files and the label; the ISO follows ECMA-119 (ISO
9660), with the names in Rock Ridge (IEEE P1282) and in Joliet.
"""

import hashlib
import io
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pycdlib
import yaml

from imgforge.errors import BadInputError
from imgforge.files import appearing
from imgforge.metadata import Instance
from imgforge.user_data import NotYamlError, compose, pairs

LABEL = "cidata"
"""The volume's name, by which cloud-init finds it."""
_SECTOR_BYTES = 2048
_FIRST_DESCRIPTOR = 16
_PRIMARY, _SUPPLEMENTARY, _LAST = 1, 2, 255
_ROOT_RECORD = 156
_VOLUME_DATES = 813
# Nothing has a date of its own: all are 1 January 1980, 0:00 UTC, the first that DOS knows.
_VOLUME_DATE = b"1980010100000000\0"
_NO_VOLUME_DATE = b"0" * 16 + b"\0"
_RECORD_DATE = bytes((80, 1, 1, 0, 0, 0, 0))
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)")
_LONGEST_NAME = 253
_DSMODES = frozenset({"local", "net", "pass", "disabled"})


@dataclass(frozen=True, slots=True)
class Seed:
    """The files of a seed; None is for one that is not there."""

    meta_data: bytes
    user_data: bytes = b""
    vendor_data: bytes | None = None
    network_config: bytes | None = None

    def files(self) -> dict[str, bytes]:
        """Return the content of each file by its name."""
        found = {
            "meta-data": self.meta_data,
            "network-config": self.network_config,
            "user-data": self.user_data,
            "vendor-data": self.vendor_data,
        }
        return {name: content for name, content in found.items() if content is not None}


def write_meta_data(
    instance_id: str, *, hostname: str = "", public_keys: Mapping[str, str] | None = None
) -> bytes:
    """Return a meta-data file; `public_keys` are lines as in authorized_keys(5), by their name.

    "" is for no host name. Raises BadInputError for one that is none by RFC 1123.
    """
    values: dict[str, object] = {"instance-id": instance_id}
    if hostname:
        _require_hostname(hostname)
        values["local-hostname"] = hostname
    if public_keys:
        values["public-keys"] = dict(public_keys)
    return yaml.safe_dump(values, allow_unicode=True, width=10_000).encode()


def _require_hostname(name: str) -> None:
    """Raise BadInputError for no host name (RFC 1123, 2.1; 253 characters as in RFC 1035, 3.1)."""
    if len(name) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, name.split("."))):
        shown = repr(name) if len(name) <= 80 else f"one of {len(name)} characters"
        raise BadInputError(
            f"Host name: {shown} is none.",
            hint="It is letters, digits and hyphens, with dots between at most 63 of them, "
            f"{_LONGEST_NAME} in all.",
        )


def seed_of(instance: Instance) -> Seed:
    """Return the seed that tells a guest what the metadata service would tell of an instance."""
    meta_data = write_meta_data(
        instance.instance_id, hostname=instance.hostname, public_keys=instance.public_keys
    )
    return Seed(meta_data, instance.user_data or b"")


def instance_id_of(*contents: bytes) -> str:
    """Return an instance id that is new when what the instance is told is."""
    digest = hashlib.sha256(b"".join(hashlib.sha256(content).digest() for content in contents))
    return f"i-{digest.hexdigest()[:17]}"


def require_good(seed: Seed) -> None:
    """Raise BadInputError for what cloud-init could not use: user data has a check of its own."""
    root = _mapping("meta-data", seed.meta_data)
    values = pairs(root)
    if not _word(values.get("instance-id")):
        raise BadInputError(
            "meta-data: it has no instance-id, by which cloud-init knows a new instance.",
            hint="Add the line `instance-id: i-0123456789abcdef0`, another for each instance.",
        )
    if "dsmode" in values and (mode := _word(values["dsmode"])) not in _DSMODES:
        raise BadInputError(
            f"meta-data: dsmode is {mode!r}; allowed are {', '.join(sorted(_DSMODES))}."
        )
    if seed.network_config is not None:
        _require_network(_mapping("network-config", seed.network_config))


def _require_network(root: yaml.MappingNode) -> None:
    values = pairs(root)
    inner = pairs(values["network"]) if "network" in values else values
    version = _word(inner.get("version"))
    if version not in {"1", "2"}:
        found = repr(version) if version else "none"
        raise BadInputError(
            f"network-config: its version is {found}; cloud-init knows 1 and 2.",
            hint="Version 2 is netplan's: version: 2, then ethernets.",
        )


def _word(node: yaml.Node | None) -> str:
    """Return a single value as it is written; "" for lists, keys with values, and nothing."""
    return str(node.value).strip() if isinstance(node, yaml.ScalarNode) else ""


def _mapping(name: str, content: bytes) -> yaml.MappingNode:
    try:
        root = compose(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise BadInputError(f"{name}: its byte {error.start} is no UTF-8.") from None
    except NotYamlError as error:
        raise BadInputError(f"{name}: no YAML: {error}.", hint=error.hint) from None
    if not isinstance(root, yaml.MappingNode):
        raise BadInputError(f"{name}: is no YAML of keys and values.")
    return root


def write_seed(seed: Seed, destination: Path) -> None:
    """Write a seed's ISO, the same bytes for the same seed. Raises OSError."""
    with appearing(destination) as new:
        new.touch(mode=0o600)  # user data mostly has a secret in it
        new.write_bytes(make_iso(seed.files()))


def make_iso(files: Mapping[str, bytes]) -> bytes:
    """Return an ISO of files in its root folder, labelled for cloud-init."""
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident=LABEL, joliet=3, rock_ridge="1.09")
    try:
        for name, content in sorted(files.items()):
            iso.add_fp(
                io.BytesIO(content),
                len(content),
                f"/{name.replace('-', '').upper()[:8]}.;1",
                rr_name=name,
                joliet_path=f"/{name}",
                file_mode=0o100444,
            )
        written = io.BytesIO()
        iso.write_fp(written)
    finally:
        iso.close()
    image = bytearray(written.getvalue())
    _fix_dates(image)
    return bytes(image)


def _fix_dates(image: bytearray) -> None:
    """Set each date in an ISO of one folder: the library takes them from the clock."""
    for start in range(_FIRST_DESCRIPTOR * _SECTOR_BYTES, len(image), _SECTOR_BYTES):
        kind = image[start]
        if kind == _LAST:
            return
        if kind in {_PRIMARY, _SUPPLEMENTARY}:
            dates = _VOLUME_DATE * 2 + _NO_VOLUME_DATE * 2  # made, changed; expires, effective
            image[start + _VOLUME_DATES : start + _VOLUME_DATES + len(dates)] = dates
            _fix_record(image, start + _ROOT_RECORD)
            first, size = _extent(image, start + _ROOT_RECORD)
            for record in _records(image, first * _SECTOR_BYTES, size):
                _fix_record(image, record)
    raise AssertionError("an ISO ends its descriptors")


def _extent(image: bytearray, record: int) -> tuple[int, int]:
    first, size = struct.unpack_from("<I4xI", image, record + 2)
    return first, size


def _records(image: bytearray, start: int, size: int) -> Iterator[int]:
    """Yield where each record of a folder begins; one never lies across two sectors."""
    at = start
    while at < start + size:
        if image[at] == 0:
            at = (at // _SECTOR_BYTES + 1) * _SECTOR_BYTES
            continue
        yield at
        at += image[at]


def _fix_record(image: bytearray, record: int) -> None:
    image[record + 18 : record + 25] = _RECORD_DATE
    name_bytes = image[record + 32]
    entries = record + 33 + name_bytes + (1 - name_bytes % 2)
    _fix_entries(image, entries, record + image[record])


def _fix_entries(image: bytearray, at: int, end: int) -> None:
    """Set the dates of Rock Ridge's time stamps (TF), also where the entries go on (CE)."""
    while at + 4 <= end and image[at + 2] >= 4:
        signature, size = bytes(image[at : at + 2]), image[at + 2]
        if signature == b"TF":
            stamps = (size - 5) // len(_RECORD_DATE)
            image[at + 5 : at + size] = _RECORD_DATE * stamps
        elif signature == b"CE":
            sector, offset, length = struct.unpack_from("<I4xI4xI", image, at + 4)
            goes_on = sector * _SECTOR_BYTES + offset
            _fix_entries(image, goes_on, goes_on + length)
        at += size
