"""`imgforge seed`: an instance's data on a small ISO, for guests without a metadata service."""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.terminal import print_json, stdout_console
from imgforge.cli.user_data import tell_findings
from imgforge.errors import BadInputError

_FILE = "FILE"


def seed(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", metavar=_FILE, help="The ISO to write.")],
    user_data: Annotated[
        Path | None, typer.Option("--user-data", metavar=_FILE, help="User data.")
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
        typer.Option("--meta-data", metavar=_FILE, help="In place of the three before it."),
    ] = None,
    network_config: Annotated[
        Path | None,
        typer.Option("--network-config", metavar=_FILE, help="Else the guest uses DHCP."),
    ] = None,
    vendor_data: Annotated[
        Path | None, typer.Option("--vendor-data", metavar=_FILE, help="The image maker's part.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")] = False,
) -> None:
    """Write a NoCloud seed: an ISO named cidata, with Rock Ridge and Joliet.

    cloud-init finds it on any disk or CD of the machine. The same input gives the same bytes.
    YAML that cloud-init could not use is refused; what is wrong with user data is told.
    """
    from imgforge.seed import Seed, instance_id_of, require_good, write_meta_data, write_seed
    from imgforge.user_data import read_source

    if meta_data is not None and (keys or hostname or instance_id):
        raise BadInputError(
            "Seed: --meta-data says it all; it takes no --public-key, --hostname or --instance-id "
            "beside it."
        )
    given_user_data = read_source(user_data) if user_data else b""
    given_vendor_data = read_source(vendor_data) if vendor_data else None
    given_network = read_source(network_config) if network_config else None
    public_keys = _public_keys(keys or [])
    if meta_data is not None:
        described = read_source(meta_data)
    else:
        told = (
            given_user_data,
            given_vendor_data or b"",
            given_network or b"",
            hostname.encode(),
            *(line.encode() for line in public_keys.values()),
        )
        described = write_meta_data(
            instance_id or instance_id_of(*told), hostname=hostname, public_keys=public_keys
        )
    made = Seed(described, given_user_data, given_vendor_data, given_network)
    require_good(made)
    tell_findings("user-data", given_user_data)
    tell_findings("vendor-data", given_vendor_data or b"")
    write_seed(made, out)
    if as_json:
        sizes = {name: len(content) for name, content in made.files().items()}
        print_json({"seed": str(out), "files": sizes, "size_bytes": out.stat().st_size})
    else:
        stdout_console().print(str(out), markup=False, soft_wrap=True)


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
