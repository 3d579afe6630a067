"""What to build, declared: the recipe and its rules."""

import hashlib
import json
import re
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from imgforge.layout import Layout as Layout

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_SECTOR_BYTES = 512
_LARGEST_BYTES = 2 * 2**40


class FilesystemType(StrEnum):
    """A root file system that GRUB Legacy reads."""

    EXT2 = "ext2"
    EXT3 = "ext3"
    EXT4 = "ext4"
    XFS = "xfs"


def parse_size(text: str) -> int:
    """Return the bytes of a size such as "512M" or "10G" (powers of 1024)."""
    match = re.fullmatch(r"([0-9]{1,15})\s*([KMGT]?)i?B?", text.strip())
    if match is None:
        raise ValueError('a size is a whole number with K, M, G or T behind it, as in "512M"')
    return int(match[1]) * _UNITS[match[2]]


def _check_size(text: str) -> str:
    if text != "auto":
        size_bytes = parse_size(text)
        if size_bytes % _SECTOR_BYTES or size_bytes == 0:
            raise ValueError(f"a disk is a whole number of {_SECTOR_BYTES}-byte sectors, above 0")
        if size_bytes > _LARGEST_BYTES:
            raise ValueError("GRUB Legacy and the MBR reach 2 TiB: a disk is at most 2T")
    return text


def _check_guest_path(text: str) -> str:
    path = PurePosixPath(text)
    if not path.is_absolute() or ".." in path.parts:
        raise ValueError('a path in the image starts with "/" and has no ".."')
    if any(character.isspace() for character in text):
        raise ValueError("menu.lst cannot express a path with white space")
    return text


def _check_one_line(text: str) -> str:
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        raise ValueError("control characters and line ends are not allowed here")
    return text


GuestPath = Annotated[str, AfterValidator(_check_guest_path)]
OneLine = Annotated[str, AfterValidator(_check_one_line)]
PackageName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9+.-]+$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PackagesSource(_Part):
    """A root tree made of Debian packages, by mmdebstrap."""

    kind: Literal["packages"] = Field(description="Debian packages, by mmdebstrap")
    suite: str = Field(pattern=r"^[a-z][a-z0-9-]*$", examples=["bookworm"])
    architecture: Literal["amd64"] = "amd64"
    mirrors: tuple[str, ...] = Field(
        default=(), description="apt sources or mirror URLs; empty: mmdebstrap's default"
    )
    components: tuple[str, ...] = ("main",)
    variant: Literal["extract", "minbase"] = Field(
        default="minbase",
        description="minbase: configured packages; extract: unpacked, no script of theirs is run",
    )
    include: tuple[PackageName, ...] = Field(default=(), description="package names")
    include_hvm: tuple[PackageName, ...] = Field(
        default=(), description="those that the layouts hvm-mbr and hvm-gpt have besides"
    )
    include_pv: tuple[PackageName, ...] = Field(
        default=(), description="those that the layouts pv and pv-part have besides"
    )
    exclude_paths: tuple[str, ...] = Field(
        default=(), description="shell patterns of paths to leave out, as in /usr/share/doc/*"
    )


class FolderSource(_Part):
    """A root tree copied from a folder; every file becomes root's."""

    kind: Literal["folder"]
    path: str = Field(min_length=1, description="relative to the recipe")


class TarSource(_Part):
    """A root tree unpacked from a tar archive, with the owners and modes it names."""

    kind: Literal["tar"]
    path: str = Field(min_length=1, description="relative to the recipe")


RootfsSource = Annotated[PackagesSource | FolderSource | TarSource, Field(discriminator="kind")]


class Initramfs(_Part):
    """An initramfs that imgforge makes: busybox, kernel modules and an init script.

    Without this table the packages' own initramfs, if any, is used.
    """

    path: GuestPath = Field(description="where it stands in the image")
    init: str = Field(description="a POSIX sh script, relative to the recipe")
    busybox: GuestPath = Field(default="/bin/busybox", description="a static busybox in the image")
    modules: tuple[str, ...] = Field(
        default=(), description="kernel modules, loaded in this order with what they depend on"
    )


class RootfsPart(_Part):
    """Where the root tree comes from and what is laid over it."""

    source: RootfsSource
    overlays: tuple[str, ...] = Field(
        default=(), description="folders laid over the tree in order, relative to the recipe"
    )
    initramfs: Initramfs | None = None


class DiskPart(_Part):
    """The disk: its layouts, size and file system."""

    layouts: tuple[Layout, ...] = Field(min_length=1)
    size: Annotated[str, AfterValidator(_check_size)] = Field(
        default="auto", description='"auto" (the tree plus a fifth) or a size such as "2G"'
    )
    filesystem: FilesystemType = Field(default=FilesystemType.EXT4)
    label: str = Field(default="root", pattern=r"^[A-Za-z0-9/_.-]{1,16}$")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.layouts)) != len(self.layouts):
            raise ValueError("layouts names a layout twice")
        if self.filesystem is FilesystemType.XFS and len(self.label) > 12:
            raise ValueError(f"an xfs label has at most 12 characters, {self.label!r} has more")
        return self

    @property
    def size_bytes(self) -> int | None:
        """The disk's size in bytes, or None where it follows from the tree."""
        return None if self.size == "auto" else parse_size(self.size)


class BootEntry(_Part):
    """One title of menu.lst."""

    title: OneLine = Field(min_length=1)
    kernel: GuestPath = Field(description="a path, or a pattern that exactly one file matches")
    initrd: GuestPath | None = Field(default=None, description="as kernel")
    command_line: OneLine = Field(
        description="what the kernel is told, as in root=LABEL=root ro console={console}; "
        "{console} is hvc0 for the pv layouts, ttyS0 for the others"
    )


class BootPart(_Part):
    """menu.lst: entries, which is tried first, which next, and where GRUB shows itself."""

    entries: tuple[BootEntry, ...] = Field(min_length=1)
    default: int = Field(default=0, ge=0)
    fallback: int | None = Field(default=None, ge=0)
    timeout_s: int = Field(default=0, ge=0, le=300)
    serial: bool = Field(default=True, description="GRUB talks on the first serial port (hvm)")

    @model_validator(mode="after")
    def _check(self) -> Self:
        last = len(self.entries) - 1
        if self.default > last:
            raise ValueError(f"default = {self.default}, but entries are numbered 0 to {last}")
        if self.fallback is not None and self.fallback > last:
            raise ValueError(f"fallback = {self.fallback}, but entries are numbered 0 to {last}")
        return self


class ExpectPart(_Part):
    """What a boot must show, and within what time."""

    login_user: str = Field(default="root", pattern=r"^[a-z_][a-z0-9_-]{0,31}$")
    boot_limit_s: int = Field(default=600, ge=1, le=7200, description="to the first login, on TCG")
    silence_limit_s: int = Field(
        default=120, ge=1, le=7200, description="no console byte, no request, no login for so long"
    )
    console_must_show: tuple[str, ...] = Field(
        default=(), description="regular expressions, each matching some console line"
    )
    console_must_not_show: tuple[str, ...] = ()
    commands: tuple[str, ...] = Field(
        default=(), description="run over SSH after login; each must end with exit code 0"
    )
    open_ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(
        default=(), description="TCP and UDP ports that may listen, beside those of SSH and DHCP"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for pattern in (*self.console_must_show, *self.console_must_not_show):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"not a regular expression: {pattern!r} ({error})") from None
        return self


class Ebs(_Part):
    """EC2's EbsBlockDevice, as far as registering needs it."""

    volume_size: int | None = Field(default=None, ge=1, le=65536, description="GiB")
    volume_type: Literal["gp2", "gp3", "io1", "io2", "st1", "sc1", "standard"] = "gp3"
    iops: int | None = Field(default=None, ge=100)
    delete_on_termination: bool = True
    encrypted: bool | None = None


class BlockDevice(_Part):
    """One block device mapping: exactly one of ebs, virtual_name and no_device."""

    device_name: str = Field(pattern=r"^/dev/(sd[a-z]|hd[a-z]|xvd[a-z]{1,2})(1[0-5]|[1-9])?$")
    ebs: Ebs | None = None
    virtual_name: str | None = Field(default=None, pattern=r"^ephemeral\d{1,2}$")
    no_device: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [self.ebs is not None, self.virtual_name is not None, self.no_device]
        if given.count(True) != 1:
            raise ValueError("give exactly one of ebs, virtual_name and no_device")
        return self


class ImagePart(_Part):
    """What the image is called when it is registered (EC2's RegisterImage)."""

    name: str = Field(
        min_length=3,
        max_length=128,
        pattern=r"^[A-Za-z0-9()\[\] ./\-'@_{}]+$",
        description="{layout} and {version} are filled in; unique among one's images",
    )
    description: str = Field(default="", max_length=255)
    architecture: Literal["x86_64"] = "x86_64"
    version: str = "1"
    tags: dict[str, str] = Field(default_factory=dict, max_length=50)
    block_devices: tuple[BlockDevice, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [device.device_name for device in self.block_devices]
        if len(set(names)) != len(names):
            raise ValueError("block_devices names a device twice")
        for key in self.tags:
            if key.lower().startswith(("aws:", "imgforge:")):
                raise ValueError(f"tags has {key!r}: aws: and imgforge: begin keys of their own")
        for name in re.findall(r"\{([^}]*)\}", self.name):
            if name not in {"layout", "version"}:
                raise ValueError(f"name may use {{layout}} and {{version}}, found {{{name}}}")
        return self


class Recipe(_Part):
    """A machine image, declared. Paths in it are relative to the file it was read from."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")
    description: str = ""
    rootfs: RootfsPart
    disk: DiskPart
    boot: BootPart
    expect: ExpectPart = ExpectPart()
    image: ImagePart

    @property
    def sha256(self) -> str:
        """The digest of what is declared: of the values, not of the file's spacing or comments."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(canonical.encode()).hexdigest()


class RecipeFile(BaseModel):
    """A recipe and where it stands; `variant` is "pv" where that of the pv layouts is another."""

    model_config = ConfigDict(frozen=True)

    path: Path
    recipe: Recipe
    variant: Literal["", "pv"] = ""

    def locate(self, relative: str) -> Path:
        """Return the path of something the recipe names relative to itself."""
        return self.path.parent / relative

    @property
    def lock_path(self) -> Path:
        """Where the locked inputs of this recipe stand."""
        variant = f".{self.variant}" if self.variant else ""
        return self.path.with_name(f"{self.path.name}{variant}.lock")

    def for_layout(self, layout: Layout) -> Self:
        """Return the recipe as a layout has it: with the packages of its virtualization type."""
        source = self.recipe.rootfs.source
        if not isinstance(source, PackagesSource) or not (source.include_hvm or source.include_pv):
            return self
        more = source.include_pv if layout.is_pv else source.include_hvm
        none: dict[str, object] = {"include_hvm": (), "include_pv": ()}
        chosen = source.model_copy(update={**none, "include": (*source.include, *more)})
        rootfs = self.recipe.rootfs.model_copy(update={"source": chosen})
        recipe = self.recipe.model_copy(update={"rootfs": rootfs})
        variant = "pv" if layout.is_pv else ""
        return self.model_copy(update={"recipe": recipe, "variant": variant})
