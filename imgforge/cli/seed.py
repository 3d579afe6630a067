"""`imgforge seed`: an instance's data on a small ISO, for guests without a metadata service."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from imgforge.cli.instance import read_instance
from imgforge.cli.options import JsonOption
from imgforge.cli.terminal import print_json, stdout_console
from imgforge.cli.user_data import tell_findings
from imgforge.errors import BadInputError

if TYPE_CHECKING:
    from imgforge.seed import Seed

_FILE = "FILE"


def seed(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar=_FILE, help="The ISO to write.")],
    user_data: Annotated[
        Path | None, typer.Option("--user-data", metavar=_FILE, help="User data.")
    ] = None,
    instance: Annotated[
        Path | None,
        typer.Option("--instance", metavar=_FILE, help="An instance, as `metadata serve` takes."),
    ] = None,
    keys: Annotated[
        list[Path] | None,
        typer.Option("--public-key", metavar=_FILE, help="A key that lets its owner in; several."),
    ] = None,
    hostname: Annotated[
        str, typer.Option("--hostname", metavar="NAME", help="What the guest is called.")
    ] = "",
    instance_id: Annotated[
        str,
        typer.Option("--instance-id", metavar="ID", help="Else one made from what it is told."),
    ] = "",
    meta_data: Annotated[
        Path | None,
        typer.Option("--meta-data", metavar=_FILE, help="The file itself, as it is."),
    ] = None,
    network_config: Annotated[
        Path | None,
        typer.Option("--network-config", metavar=_FILE, help="Else the guest uses DHCP."),
    ] = None,
    vendor_data: Annotated[
        Path | None, typer.Option("--vendor-data", metavar=_FILE, help="The image maker's part.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a NoCloud seed: an ISO named cidata, with Rock Ridge and Joliet.

    cloud-init finds it on any disk or CD of the machine. The same input gives the same bytes.
    YAML that cloud-init could not use is refused; what is wrong with user data is told. Of an
    --instance come keys, name, id and user data, unless --user-data is given; EC2's limit of
    16 KiB then holds.
    """
    from imgforge.seed import require_good, write_seed

    told = _Told(keys or [], hostname, instance_id)
    _require_one_source(told, instance=instance, meta_data=meta_data)
    parts = _parts(user_data, vendor_data=vendor_data, network_config=network_config)
    if instance is not None:
        made = _of_instance(instance, parts, user_data=user_data)
    else:
        made = replace(parts, meta_data=_meta_data(told, parts, meta_data))
    require_good(made)
    tell_findings("user-data", made.user_data)
    tell_findings("vendor-data", made.vendor_data or b"")
    write_seed(made, out)
    if as_json:
        sizes = {name: len(content) for name, content in made.files().items()}
        print_json({"seed": str(out), "files": sizes, "size_bytes": out.stat().st_size})
    else:
        stdout_console().print(str(out), markup=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class _Told:
    """What options tell of the instance."""

    keys: list[Path]
    hostname: str
    instance_id: str

    def __bool__(self) -> bool:
        return bool(self.keys or self.hostname or self.instance_id)


def _require_one_source(told: _Told, *, instance: Path | None, meta_data: Path | None) -> None:
    if meta_data is not None and instance is not None:
        raise BadInputError("Seed: --meta-data and --instance say the same; give one of them.")
    if told and (meta_data is not None or instance is not None):
        given = "--instance" if meta_data is None else "--meta-data"
        raise BadInputError(
            f"Seed: {given} says it all; it takes no --public-key, --hostname or --instance-id "
            "beside it."
        )


def _parts(
    user_data: Path | None, *, vendor_data: Path | None, network_config: Path | None
) -> "Seed":
    """Return a seed of files, without its meta-data."""
    from imgforge.seed import Seed
    from imgforge.user_data import read_source

    return Seed(
        b"",
        read_source(user_data) if user_data else b"",
        read_source(vendor_data) if vendor_data else None,
        read_source(network_config) if network_config else None,
    )


def _of_instance(path: Path, parts: "Seed", *, user_data: Path | None) -> "Seed":
    """Return the seed that tells what the metadata service would tell of an instance."""
    from imgforge.seed import instance_id_of, seed_of

    instance = read_instance(path, user_data=user_data, instance_id="")
    made = replace(parts, user_data=instance.user_data or b"")
    if not instance.instance_id:
        contents = replace(made, meta_data=seed_of(instance).meta_data).files().values()
        instance = replace(instance, instance_id=instance_id_of(*contents))
    return replace(made, meta_data=seed_of(instance).meta_data)


def _meta_data(told: _Told, parts: "Seed", path: Path | None) -> bytes:
    """Return the file meta-data: the one given, or one made of what options tell."""
    from imgforge.seed import instance_id_of, write_meta_data
    from imgforge.user_data import read_source

    if path is not None:
        return read_source(path)
    public_keys = _public_keys(told.keys)
    contents = (
        parts.user_data,
        parts.vendor_data or b"",
        parts.network_config or b"",
        told.hostname.encode(),
        *(line.encode() for line in public_keys.values()),
    )
    instance_id = told.instance_id or instance_id_of(*contents)
    return write_meta_data(instance_id, hostname=told.hostname, public_keys=public_keys)


def _public_keys(paths: list[Path]) -> dict[str, str]:
    """Return the lines of public keys by their file's name, each once."""
    from imgforge.user_data import read_source

    found: dict[str, str] = {}
    for path in paths:
        text = read_source(path).decode("utf-8", "replace")
        if "PRIVATE KEY" in text:
            raise BadInputError(
                f"File {path}: is a private key, which is for nobody but its owner.",
                hint=f"Give the public one, by its usual name {path}.pub.",
            )
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        for number, line in enumerate(lines):
            if line.startswith("#"):
                continue
            if len(line.split()) < 2:
                raise BadInputError(f"File {path}: is no public key: {line[:40]!r}.")
            name = path.stem if len(lines) == 1 else f"{path.stem}-{number}"
            found[f"{name}-{len(found)}" if name in found else name] = line
    return found
