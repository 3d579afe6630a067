"""Recipes: what is allowed, and how a broken rule is told."""

import json
import random
from pathlib import Path
from typing import Any

import pytest

from imgforge.errors import BadInputError, ExitCode
from imgforge.recipe import Layout, Recipe, parse_size
from imgforge.recipe_file import load_recipe, recipe_schema

RECIPES = sorted((Path(__file__).parents[2] / "guest" / "recipes").glob("*.toml"))

GOOD = """\
name = "small"
[rootfs.source]
kind = "packages"
suite = "bookworm"
include = ["busybox-static"]
[rootfs.initramfs]
path = "/boot/initrd.img"
init = "init"
[disk]
layouts = ["hvm-mbr", "pv"]
size = "64M"
filesystem = "ext4"
label = "root"
[[boot.entries]]
title = "one"
kernel = "/boot/vmlinuz-*"
command_line = "root=LABEL=root ro"
[[boot.entries]]
title = "two"
kernel = "/boot/old"
initrd = "/boot/initrd.img"
command_line = "ro"
[boot]
fallback = 1
[expect]
boot_limit_s = 300
console_must_show = ["login:"]
[image]
name = "small-{layout}"
[image.tags]
Team = "a"
[[image.block_devices]]
device_name = "/dev/sda1"
ebs = { volume_size = 8 }
[[image.block_devices]]
device_name = "/dev/sdb"
virtual_name = "ephemeral0"
"""


def complain(tmp_path: Path, text: str | bytes) -> str:
    """Load a bad recipe; return what is said of it, with the path's folder left out."""
    path = tmp_path / "r.toml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(BadInputError) as caught:
        load_recipe(path)
    assert caught.value.exit_code == ExitCode.BAD_INPUT
    return str(caught.value).replace(f"{tmp_path}/", "")


def changed(line: str, new: str) -> str:
    assert GOOD.count(line + "\n") == 1, line
    return GOOD.replace(line + "\n", new + "\n")


def test_a_good_recipe_is_read(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text(GOOD)
    loaded = load_recipe(path)
    assert loaded.recipe.disk.layouts == (Layout.HVM_MBR, Layout.PV)
    assert loaded.recipe.disk.size_bytes == 64 * 2**20
    assert loaded.recipe.boot.entries[1].initrd == "/boot/initrd.img"
    assert loaded.locate("x") == tmp_path / "x"
    assert loaded.lock_path == tmp_path / "r.toml.lock"
    assert loaded.for_layout(Layout.PV) is loaded


def test_the_pv_layouts_have_packages_and_a_lock_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    more = 'include_hvm = ["cloud"]\ninclude_pv = ["generic"]\n'
    path.write_text(GOOD.replace('include = ["busybox-static"]\n', f'include = ["busy"]\n{more}'))
    loaded = load_recipe(path)
    for layout in Layout:
        chosen = loaded.for_layout(layout)
        source = chosen.recipe.rootfs.source
        assert source.kind == "packages"
        assert source.include == ("busy", "generic" if layout.is_pv else "cloud")
        assert (source.include_hvm, source.include_pv) == ((), ())
        assert chosen.lock_path.name == ("r.toml.pv.lock" if layout.is_pv else "r.toml.lock")
        assert chosen.locate("x") == tmp_path / "x"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.name)
def test_our_own_recipes_are_good(path: Path) -> None:
    assert load_recipe(path).recipe.name == path.stem


@pytest.mark.parametrize(
    ("line", "new", "complaint"),
    [
        # The complaint has the line of the file, what was found and what is allowed.
        ('size = "64M"', 'sise = "64M"', "r.toml:11: unknown key 'disk.sise'; allowed here: "),
        ('size = "64M"', 'sise = "64M"', "filesystem, label, layouts, size"),
        ('suite = "bookworm"', 'sweet = "x"', "r.toml:4: unknown key 'rootfs.source.sweet'"),
        ('suite = "bookworm"', 'sweet = "x"', "'rootfs.source.suite' is missing"),
        ('title = "two"', "", "'boot.entries[1].title' is missing"),
        ('kind = "packages"', 'kind = "rpm"', "'folder'"),
        ('kind = "packages"', "", "r.toml:2:"),
        ('size = "64M"', 'size = "64 Mebi"', "r.toml:11: disk.size: a size is a whole number"),
        ('size = "64M"', 'size = "64 Mebi"', 'found "64 Mebi"'),
        ('size = "64M"', 'size = "100"', "512-byte sectors"),
        ('size = "64M"', 'size = "0"', "above 0"),
        ('size = "64M"', 'size = "3T"', "at most 2T"),
        ('size = "64M"', 'size = "-5M"', "a size is a whole number"),
        ('size = "64M"', "size = 64", "r.toml:11: disk.size: input should be a valid string"),
        ('filesystem = "ext4"', 'filesystem = "btrfs"', "'ext2', 'ext3', 'ext4' or 'xfs'"),
        ('filesystem = "ext4"', 'filesystem = "btrfs"', 'found "btrfs"'),
        ('layouts = ["hvm-mbr", "pv"]', "layouts = []", "r.toml:10: disk.layouts:"),
        ('layouts = ["hvm-mbr", "pv"]', 'layouts = ["hvm"]', "'hvm-gpt'"),
        ('layouts = ["hvm-mbr", "pv"]', 'layouts = ["pv", "pv"]', "names a layout twice"),
        ('label = "root"', 'label = "a label"', "r.toml:13: disk.label:"),
        ('label = "root"', 'label = "seventeen-letters"', "r.toml:13: disk.label:"),
        ('filesystem = "ext4"', 'filesystem = "xfs"\nlabel="thirteen-char"\n#', "Cannot overwrite"),
        ('include = ["busybox-static"]', 'include = ["a; rm"]', "r.toml:5: rootfs.source.include"),
        ('include = ["busybox-static"]', 'include = ["--x"]', "r.toml:5: rootfs.source.include[0]"),
        ('include = ["busybox-static"]', 'include = "x"', "r.toml:5: rootfs.source.include:"),
        ('include = ["busybox-static"]', 'include_pv = [""]', "rootfs.source.include_pv[0]"),
        ('suite = "bookworm"', 'suite = "../x"', "r.toml:4: rootfs.source.suite:"),
        ('kernel = "/boot/old"', 'kernel = "boot/old"', 'starts with "/"'),
        ('kernel = "/boot/old"', 'kernel = "/boot/../../x"', 'has no ".."'),
        ('kernel = "/boot/old"', 'kernel = "/boot/a b"', "white space"),
        ('kernel = "/boot/old"', 'kernel = "/boot/old"\nroot = 1', "'boot.entries[1].root'"),
        ('command_line = "ro"', 'command_line = "ro\\nboot"', "r.toml:22: boot.entries[1]"),
        ('command_line = "ro"', 'command_line = "ro\\u001b"', "control characters"),
        ("fallback = 1", "fallback = 2", "entries are numbered 0 to 1"),
        ("fallback = 1", "default = 2", "entries are numbered 0 to 1"),
        ("fallback = 1", "default = -1", "r.toml:24: boot.default:"),
        ("fallback = 1", "timeout_s = 301", "less than or equal to 300; found 301"),
        ("fallback = 1", "serial = 1", "r.toml:24: boot.serial:"),
        ("boot_limit_s = 300", "boot_limit_s = 0", "r.toml:26: expect.boot_limit_s:"),
        ("boot_limit_s = 300", 'boot_limit_s = "300"', "r.toml:26: expect.boot_limit_s:"),
        ("boot_limit_s = 300", "boot_limit_s = nan", "r.toml:26: expect.boot_limit_s:"),
        ("boot_limit_s = 300", "boot_limit_s = 1979-05-27", "r.toml:26: expect.boot_limit_s:"),
        ('console_must_show = ["login:"]', 'console_must_show = ["("]', "not a regular expression"),
        ('name = "small-{layout}"', 'name = "x"', "r.toml:29: image.name:"),
        ('name = "small-{layout}"', 'name = "s-{date}"', "name may use {layout} and {version}"),
        ('name = "small-{layout}"', 'name = "smäll"', "r.toml:29: image.name:"),
        ('device_name = "/dev/sdb"', 'device_name = "/dev/sda1"', "names a device twice"),
        ('device_name = "/dev/sdb"', 'device_name = "sdb"', "r.toml:36: image.block_devices[1]"),
        ('virtual_name = "ephemeral0"', "", "exactly one of ebs, virtual_name and no_device"),
        ('virtual_name = "ephemeral0"', "no_device = true\nebs = {}", "exactly one of"),
        ('name = "small"', 'name = "Small one"', "r.toml:1: name:"),
        ('name = "small"', "", "'name' is missing"),
        ('[rootfs.initramfs]', "[rootfs.initramfs]\nmodule = []", "busybox, init, modules, path"),
    ],
)  # fmt: skip
def test_a_broken_rule_is_told_with_line_found_and_allowed(
    tmp_path: Path, line: str, new: str, complaint: str
) -> None:
    assert complaint in complain(tmp_path, changed(line, new))


def test_an_xfs_label_is_shorter(tmp_path: Path) -> None:
    text = changed('filesystem = "ext4"', 'filesystem = "xfs"')
    text = text.replace('label = "root"', 'label = "thirteen-char"')
    assert "an xfs label has at most 12 characters" in complain(tmp_path, text)


def test_every_broken_rule_is_told_at_once(tmp_path: Path) -> None:
    text = changed('size = "64M"', 'size = "x"').replace('label = "root"', 'lable = "root"')
    lines = complain(tmp_path, text).splitlines()
    assert [line.split(":")[1] for line in lines] == ["11", "13"]


def test_a_long_value_is_shown_short(tmp_path: Path) -> None:
    said = complain(tmp_path, changed('size = "64M"', f'size = "{"9x" * 5000}"'))
    assert len(said) < 400


def test_a_hostile_value_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    said = complain(tmp_path, changed('size = "64M"', 'size = "\\u001b[31m"'))
    assert "\x1b" not in said
    said = complain(tmp_path, changed('size = "64M"', '"\\u001b[31m" = 1'))
    assert "\x1b" not in said


@pytest.mark.parametrize(
    "text", [b"", b"\x00", b"\xff\xfe", b"[", b"a = ", b"name = 'x", b"[[[]]]"]
)
def test_garbage_is_bad_input(tmp_path: Path, text: bytes) -> None:
    assert "r.toml" in complain(tmp_path, text)


def test_a_recipe_cut_anywhere_is_good_or_bad_input_and_nothing_else(tmp_path: Path) -> None:
    dice = random.Random(3)  # a fixed seed
    path = tmp_path / "r.toml"
    for _ in range(150):
        path.write_text(GOOD[: dice.randrange(len(GOOD))])
        try:
            load_recipe(path)
        except BadInputError as error:
            assert "r.toml" in str(error)  # noqa: PT017


@pytest.mark.parametrize("line", ['init = "a\\u0000b"', 'init = "\\U00000000"', '"a\\u0000" = 1'])
def test_a_nul_is_bad_input(tmp_path: Path, line: str) -> None:
    assert "r.toml:8: a value holds a NUL" in complain(tmp_path, changed('init = "init"', line))


def test_deep_nesting_is_bad_input(tmp_path: Path) -> None:
    assert "r.toml" in complain(tmp_path, "a = " + "[" * 20_000)


def test_a_missing_recipe_or_a_folder_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="No such file"):
        load_recipe(tmp_path / "none.toml")
    with pytest.raises(BadInputError, match="Is a directory"):
        load_recipe(tmp_path)


def test_the_digest_is_that_of_the_values_and_not_of_the_spacing(tmp_path: Path) -> None:
    one, other, third = tmp_path / "a.toml", tmp_path / "b.toml", tmp_path / "c.toml"
    one.write_text(GOOD)
    other.write_text("# a comment\n" + GOOD.replace(" = ", "="))
    third.write_text(GOOD.replace("boot_limit_s = 300", "boot_limit_s = 301"))
    digests = [load_recipe(path).recipe.sha256 for path in (one, other, third)]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [("1", 1), ("2K", 2048), ("3M", 3 * 2**20), ("10GiB", 10 * 2**30), (" 1 T ", 2**40)],
)
def test_sizes_are_powers_of_1024(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "M", "1.5G", "1P", "1e9", "0x10", "1 2", "٣M", "1M\n2"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size is"):
        parse_size(text)


def test_the_schema_is_whole_and_forbids_what_the_model_forbids() -> None:
    schema = recipe_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json.loads(json.dumps(schema)) == schema
    for node in _nodes(schema):
        if "$ref" in node:
            assert node["$ref"].removeprefix("#/$defs/") in schema["$defs"]
        if node.get("type") == "object" and "properties" in node:
            assert node["additionalProperties"] is False
            assert set(node.get("required", [])) <= set(node["properties"])


def test_the_schema_names_every_part_of_the_model() -> None:
    assert set(recipe_schema()["properties"]) == set(Recipe.model_fields)


def _nodes(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(node for inner in value.values() for node in _nodes(inner))]
    if isinstance(value, list):
        return [node for inner in value for node in _nodes(inner)]
    return []


def test_an_endless_file_is_no_recipe() -> None:
    with pytest.raises(BadInputError, match="more than 1048576 bytes"):
        load_recipe(Path("/dev/zero"))


def test_a_broken_item_is_not_told_a_second_time_as_a_short_list(tmp_path: Path) -> None:
    good = next(path for path in RECIPES if path.stem == "minimal").read_text()
    path = tmp_path / "x.toml"
    path.write_text(good.replace('kernel = "/boot/vmlinuz-*"', 'kernel = "/boot/../etc/passwd"'))
    with pytest.raises(BadInputError) as caught:
        load_recipe(path)
    assert len(str(caught.value).splitlines()) == 1
