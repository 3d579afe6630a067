"""`imgforge bundle volume`: a tree, a recipe or a disk becomes an instance-store bundle."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from imgforge.cli.bundle_input import NewBundleOptions, existing
from imgforge.cli.option_group import with_groups
from imgforge.cli.options import JsonOption
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import print_json, stderr_console, stdout_console
from imgforge.errors import BadInputError
from imgforge.layout import PartitionKind

if TYPE_CHECKING:
    from imgforge.bundle_volume import VolumeBundle, VolumeWish
    from imgforge.recipe import FilesystemType

_MIB = 2**20
_FILE = "FILE"


@dataclass(frozen=True, slots=True)
class VolumeOptions:
    """How a volume's disk is to be, and what of the tree it gets."""

    partition: Annotated[
        PartitionKind | None,
        typer.Option("--partition", help="The disk's table; else the source's, else gpt."),
    ] = None
    filesystem: Annotated[
        str | None,
        typer.Option(
            "--filesystem", metavar="TYPE", help="ext2, ext3, ext4, xfs; else the source's."
        ),
    ] = None
    exclude: Annotated[
        list[str] | None,
        typer.Option("--exclude", "-e", metavar="DIR,…", help="Leave these out; several."),
    ] = None
    include: Annotated[
        list[str] | None,
        typer.Option("--include", metavar="FILE,…", help="Let these through the filter; several."),
    ] = None
    no_filter: Annotated[
        bool, typer.Option("--no-filter", help="Keep keys, credentials and histories.")
    ] = False
    all_mounts: Annotated[
        bool, typer.Option("--all", "-a", help="Take in what is mounted from elsewhere, too.")
    ] = False
    fstab: Annotated[
        Path | None, typer.Option("--fstab", metavar=_FILE, help="The image's /etc/fstab.")
    ] = None
    generate_fstab: Annotated[
        bool, typer.Option("--generate-fstab", help="Write the image an fstab for EC2.")
    ] = False
    no_inherit: Annotated[
        bool, typer.Option("--no-inherit", help="Do not ask the instance's metadata service.")
    ] = False

    def wish(self, *, size_bytes: int | None) -> "VolumeWish":
        """Return what was said of the volume. Raises BadInputError."""
        from imgforge.bundle_volume import VolumeWish, read_fstab

        return VolumeWish(
            partition=self.partition,
            size_bytes=size_bytes,
            filesystem=filesystem_type(self.filesystem),
            excluded=_split_list(self.exclude),
            included=_split_list(self.include),
            filtered=not self.no_filter,
            fstab=read_fstab(self.fstab),
            generates_fstab=self.generate_fstab,
            inherits=not self.no_inherit,
        )


@with_groups
def volume(
    source: Annotated[
        Path,
        typer.Argument(metavar="SOURCE", help="A tree (as / or a folder), a recipe or a raw disk."),
    ],
    *,
    new: NewBundleOptions,
    out: Annotated[
        Path | None, typer.Option("--out", "-d", metavar="DIR", help="Else NAME.bundle.")
    ] = None,
    name: Annotated[
        str, typer.Option("--name", "-p", metavar="NAME", help="Else image, or SOURCE's name.")
    ] = "",
    size: Annotated[
        str | None,
        typer.Option("--size", "-s", metavar="SIZE", help="Such as 2G; a tree's is 10G otherwise."),
    ] = None,
    options: VolumeOptions,
    as_json: JsonOption = False,
) -> None:
    """Bundle a machine's root volume: a running tree, any other one, a recipe's, or a disk's.

    Without root where it can be read. Keys, credentials and shell histories stay out, and so does
    the content of /dev, /media, /mnt, /proc and /sys; --json lists what did.
    """
    from imgforge.bundle_volume import bundle_volume
    from imgforge.volume_source import open_source

    wish = options.wish(size_bytes=_size(size))
    with shown_progress(stderr_console()):
        signers = new.signers()
        opened = open_source(source, all_mounts=options.all_mounts)
        chosen = name or opened.name
        made = bundle_volume(
            opened,
            wish,
            bundle=new.wish(chosen),
            signers=signers,
            destination=out or Path(f"{chosen}.bundle"),
            existing=existing(force=new.force),
        )
    if as_json:
        print_json(volume_values(made))
    else:
        stdout_console().print(str(made.bundle.manifest_path), markup=False, soft_wrap=True)


def _split_list(texts: Sequence[str] | None) -> tuple[str, ...]:
    """Return what stands between commas, of all times that an option was given."""
    return tuple(word for text in texts or () for word in text.split(",") if word.strip())


def filesystem_type(text: str | None) -> "FilesystemType | None":
    """Return a file system by its name. Raises BadInputError."""
    from imgforge.recipe import FilesystemType

    if text is None:
        return None
    try:
        return FilesystemType(text)
    except ValueError:
        allowed = ", ".join(FilesystemType)
        raise BadInputError(f"File system {text!r}: allowed are {allowed}.") from None


def _size(text: str | None) -> int | None:
    from imgforge.recipe import parse_size

    if text is None:
        return None
    try:
        return whole_mebibytes(parse_size(text))
    except ValueError as error:
        raise BadInputError(f"Size {text!r}: {error}.") from None


def whole_mebibytes(size_bytes: int) -> int:
    """Return a size of an image. Raises BadInputError for none, or one above EC2's limit."""
    from imgforge.volume_source import LARGEST_BYTES

    if not 0 < size_bytes <= LARGEST_BYTES or size_bytes % _MIB:
        raise BadInputError(
            f"Size of {size_bytes} bytes: whole MiB up to {LARGEST_BYTES // _MIB} are needed."
        )
    return size_bytes


def volume_values(made: "VolumeBundle") -> dict[str, Any]:
    """Return what `bundle volume --json` prints; the README promises these keys."""
    from imgforge.cli.bundle_show import bundle_values

    disk = made.disk
    return {
        **bundle_values(made.bundle),
        "partition": disk.partition,
        "filesystem": disk.filesystem,
        "label": disk.label,
        "uuid": str(disk.identity) if disk.identity else None,
        "left_out": [{"path": shown(one.path), "cause": one.cause} for one in disk.left_out],
        "changed_meanwhile": [shown(path) for path in disk.changed],
        "corrections": list(disk.corrections),
    }


def shown(path: str) -> str:
    """Return a path of the image as JSON can have it: what is no UTF-8 is replaced."""
    return "/" + path.encode(errors="surrogateescape").decode(errors="replace")
