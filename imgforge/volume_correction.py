"""What an image's tree says of its disk is made to fit: fstab, menu.lst, GRUB's own files."""

import uuid
from io import BytesIO

from imgforge.bundle import Mapping
from imgforge.disk import TreeDiskWish, boot_stages, correct_menu_root, parse_menu
from imgforge.errors import BadInputError
from imgforge.fstab import FstabLine
from imgforge.layout import Layout
from imgforge.progress import warn
from imgforge.recipe import FilesystemType
from imgforge.rootfs import EntryKind, PlainTree, TreeEntry
from imgforge.volume import generate_fstab, other_devices, root_line, without_efi
from imgforge.volume_source import VolumeSource

_MIB = 2**20
_MENU = "boot/grub/menu.lst"
_GRUB_CONF = "boot/grub/grub.conf"
_FSTAB = "etc/fstab"


def fstab_root(tree: PlainTree, fstab: bytes | None) -> FstabLine | None:
    """Return the line of `fstab`, else of the tree's own, that mounts /."""
    return root_line(fstab or _content(tree, _FSTAB) or b"")


def named_root(tree: PlainTree, line: FstabLine | None) -> tuple[str | None, uuid.UUID | None]:
    """Return the label or UUID by which a machine finds its root: fstab's, or menu.lst's."""
    return _named_root(line.source if line else "", _menu_root(tree))


def correct_fstab(
    tree: PlainTree,
    facts: TreeDiskWish,
    *,
    given: bytes | None,
    generated: bool,
    mappings: tuple[Mapping, ...],
) -> list[str]:
    """Give the tree its fstab: `given`, or `generated`, or its own; return what is other now."""
    said = []
    old = _content(tree, _FSTAB)
    if given is not None:
        data = given
        said.append("fstab: replaced as asked")
    elif generated:
        data = generate_fstab(
            root=_root_name(facts), kind=facts.kind.value, ephemeral=_ephemeral(mappings)
        )
        said.append("fstab: generated for EC2")
    elif old is None:
        return []
    else:
        data = old
    data, efi = without_efi(data)
    said += [f"fstab: {place} is commented out: the image has no EFI partition" for place in efi]
    if data != old:
        _replace(tree, _FSTAB, data)
    for place in other_devices(data):
        warn(f"fstab: mounts a device at {place} and is not nofail: the image may not have it.")
    return said


def _root_name(facts: TreeDiskWish) -> str:
    if facts.label:
        return f"LABEL={facts.label}"
    if facts.kept_uuid:
        return f"UUID={facts.kept_uuid}"
    return "/dev/sda1"


def _ephemeral(mappings: tuple[Mapping, ...]) -> str | None:
    """Return the device of the first instance store volume; as AWS's default, /dev/sdb."""
    for mapping in mappings:
        if mapping.virtual == "ephemeral0":
            return f"/dev/{mapping.device.removeprefix('/dev/')}"
    return None if mappings else "/dev/sdb"


def correct_menu(tree: PlainTree, source: VolumeSource, *, facts: TreeDiskWish) -> list[str]:
    """Let menu.lst name the root that the image will have; return what is other now.

    Raises BadInputError where a disk that boots by itself would have none.
    """
    old = _content(tree, _MENU)
    if old is None and source.menu is not None:
        _replace(tree, _MENU, source.menu(facts.layout))
        return []
    said = []
    if old is None and _content(tree, _GRUB_CONF) is not None:
        link = TreeEntry(_MENU, EntryKind.SYMLINK, 0o777, 0, 0, tree.mtime_s)
        tree.add_symlink(link, "grub.conf")
        said.append("menu.lst: a symbolic link to grub.conf, which no loader of EC2 looks for")
        old = _content(tree, _MENU)
    if old is None:
        if not facts.layout.is_pv:
            raise BadInputError(
                f"Volume {source.path}: has no /{_MENU}: GRUB Legacy would find nothing to boot.",
                hint="Write one for GRUB Legacy (GRUB 2's grub.cfg is another thing), or take a "
                "/boot of its own in with --all (-a), or use --partition none with a --kernel.",
            )
        warn(f"Volume {source.path}: has no /{_MENU}: it boots by a --kernel of EC2's own only.")
        return []
    root = "(hd0)" if facts.layout is Layout.PV else "(hd0,0)"
    data, changed = correct_menu_root(old, root=root)
    if changed:
        _replace(tree, _MENU, data)
        said.append(f"menu.lst: its root is {root} now, in {changed} of its lines")
    return said


def add_stages(tree: PlainTree, kind: FilesystemType) -> None:
    """Put GRUB Legacy's own files where its boot code looks for them."""
    for stage in boot_stages(kind):
        entry = TreeEntry(f"boot/grub/{stage.name}", EntryKind.FILE, 0o644, 0, 0, tree.mtime_s)
        with stage.open("rb") as content:
            tree.add_file(entry, content)


def _named_root(*names: str) -> tuple[str | None, uuid.UUID | None]:
    """Return the label or the UUID by which the root is looked for: the first of `names` with one.

    Such a name is "LABEL=…" or "UUID=…"; what is none of both is passed over.
    """
    for name in names:
        kind, _, text = name.partition("=")
        text = text.strip('"')
        if kind == "LABEL" and text:
            return text, None
        if kind == "UUID" and (identity := _uuid(text)):
            return None, identity
    return None, None


def _menu_root(tree: PlainTree) -> str:
    """Return what the kernel is told of its root in the entry that boots: "" where nothing is."""
    menu = parse_menu(_content(tree, _MENU) or b"")
    if not menu.order:
        return ""
    words = (menu.entries[menu.order[0]].command_line or "").split()
    return next((word[5:] for word in words if word.startswith("root=")), "")


def _uuid(text: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(text)
    except ValueError:
        return None


def _content(tree: PlainTree, path: str) -> bytes | None:
    """Return a file's content, symbolic links followed within the tree."""
    plain = tree.locate(path)
    if plain is None or not plain.is_file() or plain.stat().st_size > _MIB:
        return None
    return plain.read_bytes()


def _replace(tree: PlainTree, path: str, data: bytes) -> None:
    """Give a file new content: where a symbolic link leads to, with its metadata; or a new one."""
    plain = tree.locate(path)
    place = str(plain.relative_to(tree.folder)) if plain is not None else path
    entry = tree.get(place)
    if entry is None:
        entry = TreeEntry(place, EntryKind.FILE, 0o644, 0, 0, tree.mtime_s)
    tree.add_file(entry, BytesIO(data))
