"""What is typed of an image: the choices are EC2's, and are named where one is none of them."""

from pathlib import Path

import pytest

from imgforge.cli.command_line import run_command_line
from imgforge.image_choice import VolumeType

WRONG = [
    ("--boot-mode", "x", "legacy-bios"),
    ("--architecture", "sparc", "x86_64"),
    ("--sriov-net-support", "yes", "simple"),
    ("--tpm-support", "1.2", "v2.0"),
    ("--imds-support", "v1", "v2.0"),
    ("--virtualization-type", "xen", "paravirtual"),
]


@pytest.mark.parametrize(("option", "value", "allowed"), WRONG)
@pytest.mark.parametrize("command", [("register", "--unverified"), ("preflight",)])
def test_a_value_that_ec2_does_not_know_is_wrong_usage(
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    option: str,
    value: str,
    allowed: str,
) -> None:
    code = run_command_line(["--debug", *command, "none.raw", option, value])
    told = capsys.readouterr().err
    assert code == 2
    assert option in told
    assert f"'{value}'" in told
    assert f"'{allowed}'" in told
    assert "Value error" not in told


def test_a_volume_type_that_is_none_is_told_with_those_there_are(
    capsys: pytest.CaptureFixture[str],
) -> None:
    mapping = '[{"DeviceName": "/dev/sda1", "Ebs": {"VolumeType": "tape"}}]'
    words = ["--debug", "preflight", "none.raw", "--block-device-mappings", mapping]
    assert run_command_line(words) == 2
    told = capsys.readouterr().err
    assert "'tape'" in told
    assert all(kind in told for kind in VolumeType)


def test_a_bundle_that_is_a_file_here_is_refused_with_what_sends_it_to_s3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = tmp_path / "my web.manifest.xml"
    manifest.write_text("<manifest/>")
    for words in (["--manifest", str(manifest), "--name", "web"], [str(manifest)]):
        assert run_command_line(["--debug", "register", *words, "--unverified"]) == 2
        told = capsys.readouterr().err
        assert f"imgforge bundle upload '{manifest}' BUCKET/FOLDER" in told
        assert "--manifest BUCKET/FOLDER/'my web.manifest.xml'" in told
