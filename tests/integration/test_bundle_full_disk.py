"""Bundle commands on a disk that is full: they say so, and leave what was there, and no more."""

import json
import re

import pytest

from tests.bundle_desk import KEYS, MIB, Desk
from tests.bundle_material import ACCOUNT, noise

# For each word behind `--`, which are options of a file system, mounts a tmpfs at $1, puts a copy
# of $2 there, fills it if it is to be full, runs the command of $3 on, and tells what it left.
SMALL = """
import json, os, subprocess, sys
place, before, command = sys.argv[1], sys.argv[2], sys.argv[3:sys.argv.index("--")]
os.makedirs(place, exist_ok=True)
for options in sys.argv[sys.argv.index("--") + 1:]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], check=True)
    if before:
        subprocess.run(["cp", "-r", before + "/.", place], check=True)
    there = sorted(os.listdir(place))
    done = subprocess.run(command, capture_output=True, text=True)
    left = sorted(os.listdir(place))
    print(json.dumps([options, done.returncode, done.stderr, there, left]), flush=True)
    subprocess.run(["umount", place], check=True)
"""
MANIFEST = "image.manifest.xml"
CREATE = ("create", "image", *KEYS, "-u", ACCOUNT)
EXTRACT = ("extract", f"bundle/{MANIFEST}", "-k", "private-key.pem")
EDIT = ("edit", f"PLACE/{MANIFEST}", *KEYS, "-B", "ephemeral1=sdc")
VOLUME = (
    *("volume", "tree", *KEYS, "-u", ACCOUNT, "--partition", "none", "--no-inherit"),
    *("-s", "32M", "-d", "PLACE/new"),
)
# A command, what is there before, what it makes; two sizes that are too small, and one that is not.
WORKS = {
    "create a folder": ((*CREATE, "-d", "PLACE/new"), "", ["new"], ("100k", "5m", "16m")),
    "create in a folder": ((*CREATE, "-d", "PLACE"), "", [MANIFEST], ("5m", "11m", "16m")),
    "create over an older": (
        (*CREATE, "-d", "PLACE", "--force"),
        "small",
        [MANIFEST],
        ("100k", "11m", "16m"),
    ),
    "extract": ((*EXTRACT, "-o", "PLACE/back"), "", ["back"], ("100k", "11m", "16m")),
    "edit": (EDIT, "small", [MANIFEST], ("8k", "8k", "1m")),
    # The tree, its disk and the bundle have 8 MiB each; the tree goes when the disk is there.
    "volume": (VOLUME, "", ["new"], ("100k", "12m", "64m")),
}


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    desk = Desk(tmp_path_factory.mktemp("desk"))
    assert desk.create("--out", "bundle").returncode == 0
    (desk.folder / "tree/etc").mkdir(parents=True)
    (desk.folder / "tree/etc/data").write_bytes(noise(8 * MIB))
    (desk.folder / "old").mkdir()
    (desk.folder / "old" / "image").write_bytes(b"older")
    made = ("create", "old/image", *KEYS, "-u", ACCOUNT, "--out", "small")
    desk.good("imgforge", "bundle", *made)
    return desk


def run_on(desk: Desk, name: str, options: list[str]) -> list[tuple[str, int, str]]:
    """Run a command on file systems of these options; return the exit code and the words of each.

    Where it failed, all is as it was.
    """
    words, before, result, _ = WORKS[name]
    place = desk.folder / "place"
    inside = ["unshare", "-rm", "python3", "-c", SMALL, str(place), before]
    command = [word.replace("PLACE", str(place)) for word in words]
    program = desk.words("imgforge", "bundle", *command)
    ended = desk.run_words([*inside, *program, "--", *options])
    if not ended.stdout:
        pytest.skip(f"user and mount namespaces are missing here: {ended.stderr}")
    ways = []
    for line in ended.stdout.splitlines():
        way, code, said, there, left = json.loads(line)
        if code == 0:
            assert set(result) <= set(left)
        else:
            assert left == there, way
        ways.append((way, code, said))
    assert len(ways) == len(options), ended.stderr
    return ways


@pytest.mark.parametrize("name", WORKS)
def test_a_disk_without_room_for_the_data_leaves_what_was_there(desk: Desk, name: str) -> None:
    *small, large = run_on(desk, name, [f"size={size}" for size in WORKS[name][3]])
    for way, code, said in small:
        assert code == 3, (way, said)
        assert re.search("no space is left on its file system for|is full; ", said), said
    assert large[1] == 0, large


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "create over an older" else pytest.mark.slow)
        for name in WORKS
    ],
)
def test_each_file_that_cannot_be_made_leaves_what_was_there(desk: Desk, name: str) -> None:
    """One more file is possible each time, until it is done."""
    there = 3 if WORKS[name][1] else 1  # with the folder itself
    most = 30 if name == "volume" else 12
    options = [f"size=64m,nr_inodes={count}" for count in range(most, there, -1)]
    ways = run_on(desk, name, options)
    codes = [code for _, code, _ in ways]
    assert codes[0] == 0, ways[0]
    assert codes == sorted(codes)
    assert codes.count(3) >= 2
    assert all(re.search("no space is left|is full; ", said) for _, code, said in ways if code)
    assert set(codes) == {0, 3}
