"""What `--image` names: a recipe, a raw or qcow2 disk, or an image of the catalog."""

import json
import re
from collections.abc import Collection
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from imgforge.build import build
from imgforge.cloud_access import reached_ec2
from imgforge.command import Completed, run
from imgforge.disk import Disk, disk_sha256, open_disk
from imgforge.errors import BadInputError, HostError
from imgforge.image_disk import disk_of
from imgforge.recipe import ExpectPart, Layout
from imgforge.recipe_file import load_recipe
from imgforge.testing.plan import Image

_AMI_ID = re.compile(r"ami-[0-9a-f]{8}(?:[0-9a-f]{9})?")
_QCOW2_MAGIC = b"QFI\xfb"
_LOOK_LIMIT_S = 60.0
_LEAKS = 3  # qemu-img(1), check


@dataclass(frozen=True, slots=True)
class ImageWish:
    """What was asked for on the command line; `layout` is for a recipe that has several.

    `expect` replaces what is known of the image, `login_user` its login user. A recipe's disk is
    built in `out`.
    """

    name: str
    out: Path
    layout: str = ""
    login_user: str = ""
    expect: ExpectPart | None = None


def find_image(wish: ImageWish, *, until: ExitStack) -> Image:
    """Return the image that a wish names; a recipe is built first.

    A registered image's disk stays in the cache at least until the stack `until` ends. Raises
    BadInputError for what is none, CloudError.
    """
    if _AMI_ID.fullmatch(wish.name):
        image = _registered(wish.name, until)
    elif wish.name.endswith(".toml"):
        image = _built(wish)
    else:
        image = _disk(Path(wish.name))
    expect = wish.expect or image.expect
    if wish.login_user:
        expect = expect.model_copy(update={"login_user": wish.login_user})
    return replace(image, expect=expect)


def _registered(ami_id: str, until: ExitStack) -> Image:
    with reached_ec2() as cloud:
        disk = until.enter_context(disk_of(cloud, cloud.compute.image(ami_id)))
    return Image(disk, _expected(disk), ami_id=ami_id)


def _built(wish: ImageWish) -> Image:
    recipe_file = load_recipe(Path(wish.name))
    offered = recipe_file.recipe.disk.layouts
    try:
        layout = Layout(wish.layout) if wish.layout else offered[0]
    except ValueError:
        raise BadInputError(
            f"Layout {wish.layout}: is none of {', '.join(Layout)}.",
            hint="Give one of them with --layout.",
        ) from None
    (disk,) = build(recipe_file, layouts=[layout], out=wish.out, locked=False)
    return Image(disk, _expected(disk))


def _disk(path: Path) -> Image:
    if path.exists() and not path.is_file():
        raise BadInputError(f"Image {path}: is no file.")
    try:
        with path.open("rb") as file:
            is_qcow2 = file.read(4) == _QCOW2_MAGIC
    except OSError as error:
        raise BadInputError(
            f"Image {path}: {(error.strerror or 'cannot be read').lower()}.",
            hint="--image takes a recipe (.toml), a raw or qcow2 disk, or an ami id.",
        ) from None
    if not is_qcow2:
        disk = open_disk(path)
        return Image(disk, _expected(disk))
    disk = Disk(path=path, sha256=disk_sha256(path), size_bytes=_virtual_bytes(path), layout=None)
    return Image(disk, ExpectPart(), format="qcow2")


def _virtual_bytes(path: Path) -> int:
    """Return the size of a qcow2 disk as its guest sees it; it must stand alone."""
    facts = json.loads(_look("info", path).stdout)
    if facts.get("format") != "qcow2":
        raise HostError(f"Image {path}: qemu-img takes it for {facts.get('format')}.")
    for name in ("backing-filename", "full-backing-filename"):
        if name in facts:
            raise BadInputError(
                f"Image {path}: it needs another file, {facts[name]}.",
                hint="Make it stand alone: qemu-img convert -O qcow2.",
            )
    # Only metadata is read. Clusters that nothing refers to are no damage.
    checked = json.loads(_look("check", path, accepted=(0, _LEAKS)).stdout)
    # Beyond a file's end QEMU reads zeros: a lost table looks like an empty disk.
    if checked["image-end-offset"] - path.stat().st_size >= facts["cluster-size"]:
        raise _damaged(path, "the file ends before its last cluster")
    return int(facts["virtual-size"])


def _look(how: str, path: Path, *, accepted: Collection[int] = (0,)) -> Completed:
    """Return what a command of qemu-img says of a disk.

    Raises BadInputError for one that it cannot read.
    """
    said = run(
        "qemu-img",
        [how, "--output=json", path.absolute()],
        timeout_s=_LOOK_LIMIT_S,
        accepted_exit_codes=range(256),
    )
    if said.exit_code not in accepted:
        words = said.stderr.decode(errors="replace").strip().splitlines()
        told = words[-1].removeprefix("qemu-img: ") if words else f"it ended with {said.exit_code}"
        raise _damaged(path, f"qemu-img {how}: {told}")
    return said


def _damaged(path: Path, why: str) -> BadInputError:
    return BadInputError(
        f"Image {path}: is cut short or damaged: {why}.",
        hint="Fetch or convert it again; qemu-img check tells more.",
    )


def _expected(disk: Disk) -> ExpectPart:
    return disk.recipe.expect if disk.recipe else ExpectPart()
