"""Each line of AWS's guide to Linux AMIs that calls an AMI tool, run as it is written.

The guide's own placeholders are its access keys, which no account of AWS can have: so imgforge's
own S3 answers. Only paths, the account's number and, in the last, the bucket are replaced, and
bundle-vol is told of a tree in the place of the running machine's.
"""

import os
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.bundle_material import ACCOUNT
from tests.volume_material import make_machine, see_disk

PROGRAMS = Path(sys.executable).parent
KEY = "pk-HKZYKTAIG2ECMXYIBH3HXV4ZBEXAMPLE.pem"
CERTIFICATE = "cert-HKZYKTAIG2ECMXYIBH3HXV4ZBEXAMPLE.pem"
BUNDLE_VOL = (
    f"ec2-bundle-vol -k /tmp/cert/{KEY} -c /tmp/cert/{CERTIFICATE} -u {{account}} -r x86_64 "
    "-e /tmp/cert --partition gpt"
)
UPLOAD = (
    "ec2-upload-bundle -b my-s3-bucket/bundle_folder/bundle_name -m /tmp/image.manifest.xml "
    "-a your_access_key_id -s your_secret_access_key"
)
# By the number of their line in the guide's text.
GUIDE = {
    938: "ec2-ami-tools-version",
    958: "ec2-ami-tools-version",
    987: "ec2-ami-tools-version",
    1077: BUNDLE_VOL.format(account=ACCOUNT),
    1119: UPLOAD,
    1249: BUNDLE_VOL.format(account="your_aws_account_id"),
    1293: UPLOAD,
    1355: (
        "ec2-download-bundle -b my-s3-bucket/bundle_folder/bundle_name -m image.manifest.xml "
        f"-a $AWS_ACCESS_KEY -s $AWS_SECRET_KEY --privatekey /path/to/{KEY} -d /tmp/bundle"
    ),
    1365: f"ec2-unbundle -m image.manifest.xml --privatekey /path/to/{KEY}",
    1754: (
        "ec2-delete-bundle -b myawsbucket/myami -a your_access_key_id "
        "-s your_secret_access_key -p image"
    ),
}
# Tools that the guide's text does not call; the tests of bundles do.
UNCALLED = {"ec2-bundle-image", "ec2-migrate-manifest"}


class Instance:
    """A folder in the place of an instance's /: its /tmp, its keys, and its tree."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("tmp/cert", "path/to", "home"):
            (folder / name).mkdir(parents=True)
        self.environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("AWS_")},
            "HOME": str(folder / "home"),
            "XDG_DATA_HOME": str(folder / "data"),
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        keys = ("--key", f"tmp/cert/{KEY}", "--cert", f"tmp/cert/{CERTIFICATE}")
        self.run(["imgforge", "certificate", "create", *keys], folder)
        shutil.copy(folder / "tmp/cert" / KEY, folder / "path/to")
        self.tree = make_machine(folder / "tree", as_root=os.geteuid() == 0)
        shutil.copytree(folder / "tmp/cert", self.tree / "tmp/cert")
        self.replaced = {
            "/tmp/": f"{folder}/tmp/",
            "/path/to/": f"{folder}/path/to/",
            "your_aws_account_id": ACCOUNT,
            "$AWS_ACCESS_KEY": "your_access_key_id",
            "$AWS_SECRET_KEY": "your_secret_access_key",
            "myawsbucket/myami": "my-s3-bucket/bundle_folder/bundle_name",
        }

    def run(self, words: list[str], place: Path) -> str:
        done = subprocess.run(
            [str(PROGRAMS / words[0]), *words[1:]],
            cwd=place,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{shlex.join(words)}: {done.stderr}"
        return done.stdout

    def type(self, line: int, *more: str | Path, place: str = "") -> str:
        """Run a line of the guide in a folder; `more` are flags that it leaves to defaults."""
        words = GUIDE[line]
        # What is left out of the image is a path in the tree, and stays as it is.
        words = words.replace("-e /tmp/cert", "-e CERT")
        for written, meant in self.replaced.items():
            words = words.replace(written, meant)
        words = words.replace("-e CERT", "-e /tmp/cert")
        return self.run([*shlex.split(words), *map(str, more)], self.folder / place)


@pytest.fixture
def instance(tmp_path: Path) -> Instance:
    return Instance(tmp_path)


def test_the_lines_are_of_all_tools() -> None:
    pyproject = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    tools = {name for name in pyproject["project"]["scripts"] if name.startswith("ec2-")}
    assert {line.split()[0] for line in GUIDE.values()} | UNCALLED == tools


def test_each_line_of_the_guide_works_as_it_is_written(instance: Instance) -> None:
    folder = instance.folder
    for line in (938, 958, 987):
        assert "imgforge" in instance.type(line)
    volume = ("-v", instance.tree, "-d", folder / "tmp", "-s", "500")
    for bundle, upload in ((1077, 1119), (1249, 1293)):
        for old in (folder / "tmp").glob("image.*"):
            old.unlink()
        said = instance.type(bundle, *volume)
        assert said == f"Bundle manifest is {folder}/tmp/image.manifest.xml\n"
        assert "Bundle upload completed." in instance.type(upload)
    (folder / "tmp/bundle").mkdir()
    instance.type(1355)
    [*_, manifest] = sorted((folder / "tmp/bundle").iterdir(), key=lambda path: "xml" in path.name)
    assert manifest.read_bytes() == (folder / "tmp/image.manifest.xml").read_bytes()
    instance.type(1365, place="tmp/bundle")
    files = see_disk(folder / "tmp/bundle/image")
    assert "boot/grub/menu.lst" in files
    assert not [path for path in files if path.startswith("tmp/cert")]
    assert "image.part.0" in instance.type(1754)
    assert "ec2-delete-bundle complete." in instance.type(1754)
