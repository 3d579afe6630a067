"""From a recipe to its root tree: taken from the cache, or made and put there."""

import hashlib
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from imgforge.command import Streams, run
from imgforge.errors import BadInputError
from imgforge.files import appearing, locked_folder, tidy
from imgforge.recipe import PackagesSource, RecipeFile
from imgforge.rootfs.archive import unpack
from imgforge.rootfs.bootstrap import bootstrap, newest_build_s
from imgforge.rootfs.exclusion import Exclusion, exclude
from imgforge.rootfs.folder import fingerprint, identify, lay_over
from imgforge.rootfs.initramfs import add_initramfs
from imgforge.rootfs.lock import Lock
from imgforge.rootfs.mirror import Mirror, list_mirrors
from imgforge.rootfs.modules import index_modules, list_kernels
from imgforge.rootfs.package_mode import choose_package_mode, probe_host
from imgforge.rootfs.package_set import PackageSet
from imgforge.rootfs.plain_tree import PlainTree
from imgforge.rootfs.tree import EntryKind, Rootfs, TreeEntry
from imgforge.usage import touch_used

_LOG = logging.getLogger("imgforge")
_FORMAT = 2  # raise it when the same inputs give another tree
_PLAIN_MTIME_S = 1_600_000_000  # of files that come from folders, without packages
_LATEST_MTIME_S = 2**31 - 1
_UNPACK_LIMIT_S = 1200.0  # one package
# Mount points and homes: without base-files no package brings them.
_SKELETON = dict.fromkeys(("dev", "mnt", "proc", "run", "sys", "var"), 0o755) | {
    "root": 0o700,
    "tmp": 0o1777,
}
_MERGED_USR = ("bin", "lib", "lib64", "sbin")
# What configuring packages leaves of this host, of the hour, or of what every machine must make
# for itself.
_LEFT_BEHIND = (
    "/etc/apt/sources.list",
    "/etc/hostname",
    "/etc/machine-id",
    "/etc/resolv.conf",
    "/etc/ssh/ssh_host_*",
    "/run/*",
    "/tmp/*",  # noqa: S108 (the tree's, to be left out)
    "/var/cache/apt/*",
    "/var/cache/debconf/*-old",
    "/var/cache/ldconfig/*",
    "/var/cache/man/*",
    "/var/lib/apt/lists/*",
    "/var/lib/dbus/machine-id",
    "/var/lib/dpkg/*-old",
    "/var/lib/dpkg/lock*",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/log/*",
    "/var/tmp/*",  # noqa: S108 (the tree's, to be left out)
)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What decides a tree's content: `key` digests all of it; `lock` is None without packages."""

    source: RecipeFile
    key: str
    lock: Lock | None


def prepare_rootfs(source: RecipeFile, *, cache: Path, locked: bool) -> Rootfs:
    """Return the root tree of a recipe, from `cache` or made there.

    With `locked` exactly the packages of the recipe's lock file are used; without, the newest
    ones, unless a tree of the last resolved ones is in the cache already, and the lock file is
    brought up to date. Raises BadInputError for what the recipe, a lock or a source gets wrong,
    HostError for mirrors and programs that fail.
    """
    for name in ("packages", "rootfs"):  # one killed once its tree was in place left its folder
        tidy(cache / name)
    wanted = source.recipe.rootfs.source
    packages = None
    if isinstance(wanted, PackagesSource):
        packages = PackageSet(source=source, base_cache=cache, wanted=wanted)
    elif locked:
        _LOG.info("root tree: nothing to lock, it comes from a %s", wanted.kind)
    surroundings = _surroundings(source)
    if packages is not None:
        for lock in packages.known(locked=locked):
            inputs = _Inputs(source, _key(surroundings, lock), lock)
            ready = _load(cache, inputs)
            if ready is not None:
                packages.keep(lock, locked=locked)
                _LOG.info("root tree: from the cache")
                return ready
        lock = packages.resolve(locked=locked)
        inputs = _Inputs(source, _key(surroundings, lock), lock)
    else:
        inputs = _Inputs(source, _key(surroundings, None), None)
    return _load_or_make(cache, inputs, packages)


def _load_or_make(cache: Path, inputs: _Inputs, packages: PackageSet | None) -> Rootfs:
    folder = cache / "rootfs" / inputs.key
    waiting = cache / "rootfs" / "locks" / inputs.key
    waiting.mkdir(parents=True, exist_ok=True)
    with locked_folder(waiting):  # whoever comes second waits for the first one's tree
        ready = _load(cache, inputs)
        if ready is not None:
            _LOG.info("root tree: from the cache")
            return ready
        files = packages.fetch(inputs.lock) if packages and inputs.lock else []
        with appearing(folder) as new:
            new.mkdir()
            _make(inputs, files, cache=cache, new=new)
        made = _load(cache, inputs)
        assert made is not None
        return made


def _load(cache: Path, inputs: _Inputs) -> Rootfs | None:
    folder = cache / "rootfs" / inputs.key
    try:
        facts = json.loads((folder / "rootfs.json").read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    touch_used(folder)
    return Rootfs(
        tree=folder / "tree",
        index=folder / "index",
        sha256=facts["sha256"],
        lock_sha256=inputs.lock.sha256 if inputs.lock else "",
        content_bytes=facts["content_bytes"],
    )


def _surroundings(source: RecipeFile) -> dict[str, object]:
    """Return all that decides a tree's content, except its packages."""
    part = source.recipe.rootfs
    wanted = part.source
    facts: dict[str, object] = {
        "format": _FORMAT,
        "source": wanted.model_dump(mode="json"),
        "overlays": [fingerprint(_overlay(source, name)) for name in part.overlays],
    }
    if not isinstance(wanted, PackagesSource):
        path = source.locate(wanted.path)
        facts["content"] = fingerprint(path) if wanted.kind == "folder" else identify(path)
    if part.initramfs is not None:
        init = source.locate(part.initramfs.init)
        identify(init)
        facts["initramfs"] = part.initramfs.model_dump(mode="json")
        facts["init"] = hashlib.sha256(init.read_bytes()).hexdigest()
    return facts


def _overlay(source: RecipeFile, name: str) -> Path:
    folder = source.locate(name)
    if not folder.is_dir():
        raise BadInputError(f"Recipe {source.path}: rootfs.overlays: {folder} is no folder.")
    return folder


def _key(surroundings: dict[str, object], lock: Lock | None) -> str:
    packages = [] if lock is None else [(item.release, item.sha256) for item in lock.packages]
    facts = {**surroundings, "packages": packages}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _make(inputs: _Inputs, files: Sequence[Path], *, cache: Path, new: Path) -> None:
    part = inputs.source.recipe.rootfs
    mtime_s = newest_build_s(files) if files else _PLAIN_MTIME_S
    origin = f"Recipe {inputs.source.path}"
    tree = PlainTree(new / "tree", origin=origin, mtime_s=mtime_s)
    scratch = new.parent / "scratch"
    scratch.mkdir()
    _fill(tree, inputs, files, cache=cache, scratch=scratch)
    for name in part.overlays:
        lay_over(_overlay(inputs.source, name), tree, mtime_s=mtime_s)
    for version in list_kernels(tree):
        index_modules(tree, version, scratch=scratch)
    if part.initramfs is not None:
        add_initramfs(tree, part.initramfs, init=inputs.source.locate(part.initramfs.init))
    sha256, content_bytes = tree.finish(new / "index")
    recipe = inputs.source.recipe.name  # for who looks through the cache
    facts = {"sha256": sha256, "content_bytes": content_bytes, "recipe": recipe}
    (new / "rootfs.json").write_text(json.dumps(facts) + "\n", encoding="ascii")
    _LOG.info("root tree: made, %.1f MB", content_bytes / 1e6)


def _fill(
    tree: PlainTree, inputs: _Inputs, files: Sequence[Path], *, cache: Path, scratch: Path
) -> None:
    wanted = inputs.source.recipe.rootfs.source
    match wanted:
        case PackagesSource(variant="extract"):
            _unpack_packages(tree, files, scratch, exclude(wanted.exclude_paths))
        case PackagesSource():
            assert inputs.lock is not None
            archive = _configured(inputs.lock, files, cache)
            excluded = exclude((*_LEFT_BEHIND, *wanted.exclude_paths))
            unpack(archive, tree, excluded=excluded, latest_mtime_s=tree.mtime_s)
            _add_blanks(tree, list_mirrors(inputs.lock.base))
        case _ if wanted.kind == "folder":
            lay_over(inputs.source.locate(wanted.path), tree, mtime_s=tree.mtime_s)
        case _:
            unpack(inputs.source.locate(wanted.path), tree, latest_mtime_s=_LATEST_MTIME_S)


def _unpack_packages(
    tree: PlainTree, files: Sequence[Path], scratch: Path, excluded: Exclusion
) -> None:
    _LOG.info("packages: unpacking %d", len(files))
    for name, mode in _SKELETON.items():
        tree.add_folder(TreeEntry(name, EntryKind.DIRECTORY, mode, 0, 0, tree.mtime_s))
    for name in _MERGED_USR:  # Debian's packages are only supported on a merged /usr
        tree.add_folder(TreeEntry(f"usr/{name}", EntryKind.DIRECTORY, 0o755, 0, 0, tree.mtime_s))
        link = TreeEntry(name, EntryKind.SYMLINK, 0o777, 0, 0, tree.mtime_s)
        tree.add_symlink(link, f"usr/{name}")
    archive = scratch / "data.tar"
    for path in files:
        with archive.open("wb") as out:
            run(
                "dpkg-deb",
                ["--fsys-tarfile", path],
                streams=Streams(stdout=out),
                timeout_s=_UNPACK_LIMIT_S,
            )
        unpack(archive, tree, excluded=excluded, latest_mtime_s=tree.mtime_s)
    archive.unlink(missing_ok=True)


def _configured(lock: Lock, files: Sequence[Path], cache: Path) -> Path:
    """Return the tar archive of the configured packages, from the cache or made there."""
    names = [(item.release, item.sha256) for item in lock.packages]
    key = hashlib.sha256(json.dumps([_FORMAT, names]).encode()).hexdigest()
    archive = cache / "bases" / f"{key}.tar"
    waiting = cache / "bases" / "locks" / key
    waiting.mkdir(parents=True, exist_ok=True)
    with locked_folder(waiting):
        if not archive.exists():
            choice = choose_package_mode(lock.base.variant, probe_host())
            bootstrap(lock, files, choice=choice, destination=archive)
    touch_used(archive)
    return archive


def _add_blanks(tree: PlainTree, mirrors: Sequence[Mirror]) -> None:
    """Add what a Debian system expects, in place of what was left behind."""
    for path, text in _blanks(mirrors):
        entry = TreeEntry(path, EntryKind.FILE, 0o644, 0, 0, tree.mtime_s)
        tree.add_file(entry, BytesIO(text.encode()))


def _blanks(mirrors: Sequence[Mirror]) -> Iterator[tuple[str, str]]:
    yield "etc/apt/sources.list", "".join(f"{mirror.line()}\n" for mirror in mirrors)
    yield "etc/hostname", "localhost\n"
    yield "etc/machine-id", ""  # machine-id(5): the first boot fills it in
    yield "etc/resolv.conf", ""
