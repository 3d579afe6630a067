import hashlib
import logging
import os
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from imgforge.command import Setting, run
from imgforge.errors import BadInputError, HostError
from imgforge.recipe import Layout, RecipeFile
from imgforge.recipe_file import load_recipe
from imgforge.rootfs import Rootfs, prepare_rootfs
from imgforge.rootfs.lock import read_lock


@dataclass(frozen=True, slots=True)
class Repository:
    """A flat repository that apt may trust."""

    folder: Path

    @property
    def mirror(self) -> str:
        """Its line in sources.list."""
        return f"deb [trusted=yes] file:{self.folder} ./"

    def add(self, name: str, version: str = "1", *, content: str = "", depends: str = "") -> Path:
        """Make the package `name` and list it; it holds /usr/share/NAME/content."""
        root = self.folder.parent / "root" / f"{name}-{version}"
        (root / "DEBIAN").mkdir(parents=True)
        (root / "usr/share" / name).mkdir(parents=True)
        (root / "usr/share" / name / "content").write_text(content or f"{name} {version}\n")
        (root / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: x <x@x>\n"
            + (f"Depends: {depends}\n" if depends else "")
            + "Description: x\n"
        )
        self.folder.mkdir(exist_ok=True)
        package = self.folder / f"{name}_{version}_amd64.deb"
        run(
            "dpkg-deb",
            ["--root-owner-group", "--build", root, package],
            setting=Setting(environment={"SOURCE_DATE_EPOCH": "1700000000"}),
        )
        self.publish()
        return package

    def publish(self) -> None:
        """List what stands in the folder."""
        stanzas = []
        for package in sorted(self.folder.glob("*.deb")):
            control = run("dpkg-deb", ["--field", package]).stdout.decode().strip()
            digest = hashlib.sha256(package.read_bytes()).hexdigest()
            stanzas.append(
                f"{control}\nFilename: ./{package.name}\nSize: {package.stat().st_size}\n"
                f"SHA256: {digest}\n"
            )
        (self.folder / "Packages").write_text("\n".join(stanzas))


def write_recipe(folder: Path, *, source: str, rest: str = "") -> RecipeFile:
    """Write and load a recipe with the given [rootfs.source] and further [rootfs] lines."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "x.toml"
    path.write_text(
        f'name = "x"\n[rootfs]\n{rest}\n[rootfs.source]\n{source}\n[disk]\nlayouts = ["pv"]\n'
        '[[boot.entries]]\ntitle = "x"\nkernel = "/k"\ncommand_line = "x"\n[image]\nname = "xxx"\n'
    )
    return load_recipe(path)


def packages_source(repository: Repository, *names: str) -> str:
    """Return a [rootfs.source] that unpacks `names` from `repository`."""
    return (
        f'kind = "packages"\nsuite = "here"\nvariant = "extract"\nmirrors = ["{repository.mirror}"]'
        f"\ninclude = {list(names)}"
    )


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repository")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def prepare(recipe: RecipeFile, cache: Path, *, locked: bool = False) -> Rootfs:
    return prepare_rootfs(recipe, cache=cache, locked=locked)


def read(rootfs: Rootfs, name: str) -> str:
    return (rootfs.tree / "usr/share" / name / "content").read_text()


def test_packages_come_with_what_they_depend_on(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    repository.add("bottom")
    repository.add("top-part", depends="bottom")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "top-part"))
    rootfs = prepare(recipe, cache)
    assert read(rootfs, "bottom") == "bottom 1\n"
    lock = read_lock(recipe.lock_path)
    assert lock is not None
    assert [item.name for item in lock.packages] == ["bottom", "top-part"]
    assert rootfs.lock_sha256 == hashlib.sha256(recipe.lock_path.read_bytes()).hexdigest()
    assert {entry.uid for entry in rootfs.entries()} == {0}


def test_the_pv_layouts_may_have_a_tree_and_a_lock_of_their_own(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    for name in ("both", "cloud", "generic"):
        repository.add(name)
    more = '\ninclude_hvm = ["cloud"]\ninclude_pv = ["generic"]'
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "both") + more)
    held = {}
    for layout in (Layout.HVM_MBR, Layout.PV):
        source = recipe.for_layout(layout)
        tree = prepare(source, cache).tree
        held[layout] = sorted(path.name for path in (tree / "usr/share").iterdir())
        assert prepare(source, cache, locked=True).tree == tree
        assert source.lock_path.exists()
    assert held == {Layout.HVM_MBR: ["both", "cloud"], Layout.PV: ["both", "generic"]}


def test_a_second_build_takes_the_cached_tree_at_once_and_without_mirrors(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    repository.add("some")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "some"))
    first = prepare(recipe, cache)
    shutil.rmtree(repository.folder)
    assert prepare(recipe, cache) == first
    assert prepare(recipe, cache, locked=True) == first


def test_what_a_run_left_that_was_killed_once_its_tree_was_in_place_goes_with_the_next(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    repository.add("one")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "one"))
    prepare(recipe, cache)
    for name in ("packages", "rootfs"):
        (cache / name / ".imgforge-aside-killed").mkdir()
    prepare(recipe, cache)
    assert list(cache.glob("*/.imgforge-aside-*")) == []


def test_an_update_is_told_in_words_and_goes_into_the_lock(
    repository: Repository, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imgforge")
    old = repository.add("some", "1.0")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "some"))
    prepare(recipe, cache)
    old.unlink()
    repository.add("some", "1:2.0~rc1+b1")
    shutil.rmtree(cache / "rootfs")
    assert read(prepare(recipe, cache), "some") == "some 1:2.0~rc1+b1\n"
    assert "packages: some 1.0 → 1:2.0~rc1+b1" in caplog.messages


def test_locked_packages_come_from_the_cache_when_the_mirror_moved_on(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    repository.add("some", "1").with_name("x")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "some"))
    prepare(recipe, cache)
    shutil.rmtree(repository.folder)
    repository.add("some", "2")
    shutil.rmtree(cache / "rootfs")
    assert read(prepare(recipe, cache, locked=True), "some") == "some 1\n"


def test_a_locked_package_that_nobody_has_any_more_is_named(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    repository.add("kept")
    gone = repository.add("gone", "1:7")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "gone", "kept"))
    prepare(recipe, cache)
    gone.unlink()
    repository.publish()
    with pytest.raises(HostError, match=r"gone 1:7 \(amd64\)") as caught:
        prepare(recipe, tmp_path / "other", locked=True)
    assert "kept" not in str(caught.value)
    assert "--locked" in caught.value.hint


def test_a_mirror_that_serves_other_bytes_is_refused(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    package = repository.add("some")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "some"))
    prepare(recipe, cache)
    package.write_bytes(package.read_bytes() + b"evil")
    with pytest.raises(HostError, match="some 1"):
        prepare(recipe, tmp_path / "other", locked=True)


def test_locked_needs_a_lock_that_fits(repository: Repository, cache: Path, tmp_path: Path) -> None:
    repository.add("some")
    repository.add("more")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "some"))
    with pytest.raises(BadInputError, match="--locked needs it"):
        prepare(recipe, cache, locked=True)
    prepare(recipe, cache)
    changed = write_recipe(tmp_path / "r", source=packages_source(repository, "some", "more"))
    with pytest.raises(BadInputError, match="include = some, the recipe now says more some"):
        prepare(changed, cache, locked=True)


def test_a_package_that_does_not_exist_is_named_with_its_suite(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    repository.add("some")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "some", "nosuch"))
    with pytest.raises(BadInputError, match="Package nosuch: not in here"):
        prepare(recipe, cache)


def test_a_mirror_that_does_not_answer_is_the_hosts_failure(cache: Path, tmp_path: Path) -> None:
    source = (
        'kind = "packages"\nsuite = "bookworm"\nvariant = "extract"\ninclude = ["bash"]\n'
        'mirrors = ["http://127.0.0.1:1/debian"]'
    )
    with pytest.raises(HostError, match="bookworm"):
        prepare(write_recipe(tmp_path / "r", source=source), cache)


def test_without_mirrors_a_change_of_the_overlay_builds_from_the_cached_packages(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    repository.add("some")
    source = packages_source(repository, "some")
    (tmp_path / "r/over").mkdir(parents=True)
    recipe = write_recipe(tmp_path / "r", source=source, rest='overlays = ["over"]')
    prepare(recipe, cache)
    shutil.rmtree(repository.folder)
    (tmp_path / "r/over/new").write_text("x")
    rootfs = prepare(recipe, cache)
    assert (rootfs.tree / "new").read_text() == "x"
    assert read(rootfs, "some") == "some 1\n"


@pytest.mark.skipif(os.geteuid() == 0, reason="needs an ordinary user: root writes everywhere")
def test_a_recipe_in_a_read_only_folder_keeps_its_lock_in_the_cache(
    repository: Repository, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    repository.add("some")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "some"))
    recipe.path.parent.chmod(0o555)
    try:
        first = prepare(recipe, cache)
        assert "kept in the cache only" in caplog.text
        assert prepare(recipe, cache) == first
    finally:
        recipe.path.parent.chmod(0o755)


def test_trees_are_the_same_in_another_place_under_another_umask(
    repository: Repository, cache: Path, tmp_path: Path
) -> None:
    repository.add("some")
    source = packages_source(repository, "some")
    first = prepare(write_recipe(tmp_path / "r", source=source), cache)
    before = os.umask(0o077)
    try:
        second = prepare(write_recipe(tmp_path / "s", source=source), tmp_path / "other")
    finally:
        os.umask(before)
    assert first.sha256 == second.sha256
    assert first.index.read_bytes() == second.index.read_bytes()


def test_two_builds_at_once_make_one_tree(
    repository: Repository, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "imgforge")
    repository.add("some")
    recipe = write_recipe(tmp_path / "r", source=packages_source(repository, "some"))
    found: list[Rootfs] = []
    threads = [
        threading.Thread(target=lambda: found.append(prepare(recipe, cache))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 2
    assert found[0] == found[1]
    assert sum("root tree: made" in message for message in caplog.messages) == 1


def sources(tmp_path: Path) -> Iterator[tuple[str, str]]:
    (tmp_path / "r/tree/etc").mkdir(parents=True)
    (tmp_path / "r/tree/etc/a").write_text("a")
    with tarfile.open(tmp_path / "r/tree.tar", "w") as tar:
        tar.add(tmp_path / "r/tree", ".")
    yield "folder", "tree"
    yield "tar", "tree.tar"


def test_a_folder_or_tar_is_taken_again_until_it_changes(cache: Path, tmp_path: Path) -> None:
    for kind, path in sources(tmp_path):
        recipe = write_recipe(tmp_path / "r", source=f'kind = "{kind}"\npath = "{path}"')
        first = prepare(recipe, cache, locked=True)
        assert first.lock_sha256 == ""
        assert prepare(recipe, cache) == first
        if kind == "folder":
            (tmp_path / "r/tree/etc/a").write_text("b")
        else:
            os.utime(tmp_path / "r/tree.tar", ns=(1, 1))
        assert prepare(recipe, cache).tree != first.tree


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_source_that_is_not_there_is_named(cache: Path, tmp_path: Path, kind: str) -> None:
    recipe = write_recipe(tmp_path / "r", source=f'kind = "{kind}"\npath = "nowhere"')
    with pytest.raises(BadInputError, match="nowhere"):
        prepare(recipe, cache)
