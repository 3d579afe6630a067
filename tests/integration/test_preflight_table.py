"""Each row of EC2's rules both ways: what client and endpoint take, and what both refuse.

The client's side are the rules that `imgforge preflight` and the commands ask before any call; the
endpoint's is a request to `imgforge serve`. Rows about the disk itself are the client's alone: EC2
looks into no disk.
"""

import gzip
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from imgforge.catalog import (
    Architecture,
    BucketFacts,
    CopyWish,
    EbsDevice,
    Finding,
    ImageFacts,
    ImageRegistration,
    RefusedError,
    Severity,
    ShareWish,
    SnapshotFacts,
    VirtualizationType,
    advise_registration,
    check_bucket,
    check_copy,
    check_delete_snapshot,
    check_deregister,
    check_partition,
    check_product_codes,
    check_registration,
    check_share,
    check_snapshot_share,
)
from imgforge.catalog.image import BlockDeviceMapping
from imgforge.disk import Disk, open_disk
from imgforge.preflight import preflight, preflight_bundle
from tests.bundle_material import make_material
from tests.kernel_files import make_bzimage, make_elf
from tests.menu_disks import make_disk, make_gpt, make_hvm_disk
from tests.serving import ACCOUNT, OTHER_ACCOUNT, Serving, code_of, make_snapshot, register

REGION, ELSEWHERE = "us-east-1", "eu-west-1"
X64, I386, OF_ELSEWHERE = "aki-5c21674b", "aki-04206613", "aki-dc9ed9af"
OWN_KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ALL, OTHER = ("Group", "all"), ("UserId", OTHER_ACCOUNT)


@dataclass(frozen=True)
class World:
    """An endpoint, and what its catalog holds."""

    serving: Serving
    ec2: Any
    elsewhere: Any
    other: Any
    snapshot_id: str

    def facts(self, image_id: str, *, seen_by: Any = None) -> ImageFacts:
        """Return what a client learns of an image."""
        ec2 = seen_by or self.ec2
        [shown] = ec2.describe_images(ImageIds=[image_id], IncludeDisabled=True)["Images"]
        named = [
            device["Ebs"]["SnapshotId"]
            for device in shown["BlockDeviceMappings"]
            if "SnapshotId" in device.get("Ebs", {})
        ]
        filters = [{"Name": "snapshot-id", "Values": named or ["none"]}]
        snapshots = ec2.describe_snapshots(Filters=filters)["Snapshots"]
        return ImageFacts.of_ec2(shown, region=REGION, snapshots=snapshots)

    def snapshot_facts(self, snapshot_id: str) -> SnapshotFacts:
        """Return what a client learns of a snapshot."""
        [shown] = self.ec2.describe_snapshots(SnapshotIds=[snapshot_id])["Snapshots"]
        return SnapshotFacts.of_ec2(shown)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with Serving(tmp_path_factory.mktemp("serve") / "catalog", "--latency", "0s") as serving:
        ec2 = serving.client(region=REGION)
        yield World(
            serving,
            ec2,
            serving.client(region=ELSEWHERE),
            serving.client(region=REGION, account=OTHER_ACCOUNT),
            make_snapshot(ec2, size_gib=8),
        )


def code_of_first(findings: Iterable[Finding]) -> str:
    """Return EC2's code of what is refused first, "" where nothing is."""
    refused = [one.code for one in findings if one.severity is Severity.REFUSED]
    return refused[0] if refused else ""


# Registering: the row, what is asked beside what is plain, and EC2's code, "" where it is taken.
def hvm(**more: Any) -> dict[str, Any]:
    root = {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "SNAPSHOT"}}
    return {
        "Name": "a name",
        "Architecture": "x86_64",
        "VirtualizationType": "hvm",
        "RootDeviceName": "/dev/xvda",
        "BlockDeviceMappings": [root],
        **more,
    }


def pv(**more: Any) -> dict[str, Any]:
    root = {"DeviceName": "/dev/sda1", "Ebs": {"SnapshotId": "SNAPSHOT"}}
    return hvm(
        **{
            "VirtualizationType": "paravirtual",
            "KernelId": X64,
            "RootDeviceName": "/dev/sda1",
            "BlockDeviceMappings": [root],
            **more,
        }
    )


def device(name: str, **given: Any) -> dict[str, Any]:
    return hvm(BlockDeviceMappings=[*hvm()["BlockDeviceMappings"], {"DeviceName": name, **given}])


def pv_device(name: str, **given: Any) -> dict[str, Any]:
    return pv(BlockDeviceMappings=[*pv()["BlockDeviceMappings"], {"DeviceName": name, **given}])


def volume(**ebs: Any) -> dict[str, Any]:
    return device("/dev/sdb", Ebs=ebs)


def of_snapshot(**ebs: Any) -> dict[str, Any]:
    return hvm(
        BlockDeviceMappings=[
            {"DeviceName": "/dev/xvda", "Ebs": {"SnapshotId": "SNAPSHOT", **ebs}},
        ]
    )


def kind(name: str, size: int, **more: Any) -> dict[str, Any]:
    return volume(VolumeType=name, VolumeSize=size, **more)


MAPPING, VALUE, TOGETHER = (
    "InvalidBlockDeviceMapping",
    "InvalidParameterValue",
    "InvalidParameterCombination",
)
MALFORMED = "InvalidAMIName.Malformed"
REGISTER: list[tuple[str, dict[str, Any], str]] = [
    ("name", hvm(Name="abc"), ""),
    ("name", hvm(Name="A-z 0.9 (x) [y] ./-'@_" + "x" * 105), ""),
    ("name", hvm(Name="ab"), MALFORMED),
    ("name", hvm(Name="x" * 129), MALFORMED),
    ("name", hvm(Name="semi;colon"), MALFORMED),
    *(("name", hvm(Name=name), MALFORMED) for name in ("имя", "名前", "naïve", "a\tb", "🐧🐧🐧")),
    ("description", hvm(Description="x" * 255), ""),
    ("description", hvm(Description="ünïcode 名前"), ""),
    ("description", hvm(Description="x" * 256), VALUE),
    ("architecture", hvm(Architecture="arm64"), ""),
    ("architecture", hvm(Architecture="vax"), VALUE),
    ("virtualization type", hvm(VirtualizationType="xen"), VALUE),
    ("hvm with kernel", hvm(KernelId=X64), TOGETHER),
    ("hvm with ramdisk", hvm(RamdiskId="ari-12345678"), TOGETHER),
    ("PV", pv(), ""),
    ("PV without kernel", pv(KernelId=""), ""),
    ("PV with ENA", hvm(EnaSupport=True), ""),
    ("PV with ENA", pv(EnaSupport=True), TOGETHER),
    ("PV with SR-IOV", hvm(SriovNetSupport="simple"), ""),
    ("PV with SR-IOV", pv(SriovNetSupport="simple"), TOGETHER),
    ("PV with UEFI", hvm(BootMode="uefi"), ""),
    ("PV with UEFI", pv(BootMode="uefi"), TOGETHER),
    ("PV-GRUB with a ramdisk", pv(RamdiskId="ari-12345678"), TOGETHER),
    ("PV-GRUB with a ramdisk", pv(KernelId="", RamdiskId="ari-12345678"), ""),
    ("PV-GRUB bits", pv(KernelId=I386, Architecture="i386"), ""),
    ("PV-GRUB bits", pv(KernelId=I386), TOGETHER),
    ("PV-GRUB bits", pv(Architecture="i386"), TOGETHER),
    ("AKI", pv(KernelId=OF_ELSEWHERE), "InvalidAMIID.NotFound"),
    ("AKI", pv(KernelId="vmlinuz"), TOGETHER),
    ("root device", hvm(RootDeviceName="/dev/sda1"), MAPPING),
    ("root device", hvm(RootDeviceName="/dev/sdf"), MAPPING),
    ("root device", pv(RootDeviceName="/dev/xvda"), MAPPING),
    ("device names, PV", pv_device("/dev/sdb15", VirtualName="ephemeral0"), ""),
    ("device names, PV", pv_device("/dev/hdz", VirtualName="ephemeral0"), ""),
    ("device names, PV", pv_device("/dev/sdb16", VirtualName="ephemeral0"), MAPPING),
    ("device names, PV", pv_device("/dev/xvdf", VirtualName="ephemeral0"), MAPPING),
    ("device names, HVM", device("/dev/sdz", VirtualName="ephemeral0"), ""),
    ("device names, HVM", device("/dev/xvddz", VirtualName="ephemeral0"), ""),
    ("device names, HVM", device("/dev/xvdz", VirtualName="ephemeral0"), ""),
    ("device names, HVM", device("/dev/xvdb", VirtualName="ephemeral0"), MAPPING),
    ("device names, HVM", device("/dev/xvdea", VirtualName="ephemeral0"), MAPPING),
    ("device names, HVM", device("/dev/sdb1", VirtualName="ephemeral0"), MAPPING),
    ("no duplicates", device("/dev/xvda", VirtualName="ephemeral0"), MAPPING),
    ("exactly one", device("/dev/sdb", NoDevice=""), ""),
    ("exactly one", device("/dev/sdb"), MAPPING),
    ("exactly one", device("/dev/sdb", NoDevice="", VirtualName="ephemeral0"), MAPPING),
    ("ephemeral", device("/dev/sdb", VirtualName="ephemeral23"), ""),
    ("ephemeral", device("/dev/sdb", VirtualName="ephemeral24"), MAPPING),
    ("ephemeral", device("/dev/sdb", VirtualName="ephemeral"), MAPPING),
    ("size", of_snapshot(VolumeSize=8), ""),
    ("size", of_snapshot(VolumeSize=7), MAPPING),
    ("size", of_snapshot(VolumeSize=0), MAPPING),
    ("size", kind("gp3", 0), MAPPING),
    ("gp2", kind("gp2", 16_384), ""),
    ("gp2", kind("gp2", 16_385), MAPPING),
    ("gp3", kind("gp3", 65_536), ""),
    ("gp3", kind("gp3", 65_537), MAPPING),
    ("io2", kind("io2", 65_536, Iops=100), ""),
    ("io2", kind("io2", 65_537, Iops=100), MAPPING),
    ("io", kind("io1", 4, Iops=100), ""),
    ("io", kind("io1", 3, Iops=100), MAPPING),
    ("io", kind("io1", 4), MAPPING),
    ("st1", kind("st1", 125), ""),
    ("st1", kind("st1", 124), MAPPING),
    ("sc1", kind("sc1", 125), ""),
    ("sc1", kind("sc1", 124), MAPPING),
    ("standard", kind("standard", 1024), ""),
    ("standard", kind("standard", 1025), MAPPING),
    ("iops", kind("gp3", 100, Iops=3000), ""),
    ("iops", kind("gp2", 100, Iops=3000), MAPPING),
    ("iops", kind("gp3", 100, Iops=0), MAPPING),
    ("iops, of the size", kind("io1", 10, Iops=500), ""),
    ("iops, of the size", kind("io1", 10, Iops=501), MAPPING),
    ("iops, of the size", kind("io2", 4, Iops=4000), ""),
    ("iops, of the size", kind("io2", 4, Iops=4001), MAPPING),
    ("iops, of the size", kind("gp3", 8, Iops=4000), ""),
    ("iops, of the size", kind("gp3", 8, Iops=4001), MAPPING),
    ("iops, of the size", of_snapshot(VolumeType="io1", Iops=400), ""),
    ("iops, of the size", of_snapshot(VolumeType="io1", Iops=401), MAPPING),
    ("throughput", kind("gp3", 8, Throughput=0), MAPPING),
    ("throughput", kind("gp2", 8, Throughput=125), MAPPING),
    ("throughput, of the IOPS", kind("gp3", 8, Throughput=750), ""),
    ("throughput, of the IOPS", kind("gp3", 8, Throughput=751), MAPPING),
    ("throughput, of the IOPS", kind("gp3", 8, Iops=4000, Throughput=1000), ""),
    ("throughput, of the IOPS", kind("gp3", 8, Iops=4000, Throughput=1001), MAPPING),
    ("encrypted", volume(VolumeSize=8, Encrypted=True), ""),
    ("encrypted", of_snapshot(Encrypted=True), MAPPING),
    ("encrypted", of_snapshot(Encrypted=False), MAPPING),
    ("snapshot", volume(SnapshotId="snap-0123456789abcdef0"), "InvalidSnapshot.NotFound"),
]


@pytest.mark.parametrize(
    ("asked", "code"), [one[1:] for one in REGISTER], ids=[one[0] for one in REGISTER]
)
def test_registering(world: World, asked: dict[str, Any], code: str) -> None:
    asked = _put_in(asked, "SNAPSHOT", world.snapshot_id)
    assert client_of_register(asked, {world.snapshot_id: 8}) == code
    assert code_of(world.ec2.register_image, **asked, DryRun=True) == (code or "DryRunOperation")


def _put_in(value: Any, word: str, text: str) -> Any:
    if isinstance(value, dict):
        return {key: _put_in(one, word, text) for key, one in value.items()}
    if isinstance(value, list):
        return [_put_in(one, word, text) for one in value]
    return text if value == word else value


def client_of_register(
    asked: Mapping[str, Any], snapshots: Mapping[str, int], **pending: str
) -> str:
    """Return the code that a client tells before it asks, "" for none."""
    plain = ImageRegistration(
        name=asked["Name"],
        architecture=Architecture.I386,
        virtualization_type=VirtualizationType.PARAVIRTUAL,
        root_device_name="",
        block_devices=(),
    )
    try:
        registration = plain.asked(asked)
    except RefusedError as error:
        return error.code
    found = check_registration(
        registration, disk=None, snapshots=snapshots, pending=pending, region=REGION
    )
    return code_of_first(found)


def test_what_is_not_said_is_i386_and_paravirtual(world: World) -> None:
    """So a client always says it: the rule is of `imgforge register`, which has no default."""
    asked = _put_in(pv(), "SNAPSHOT", world.snapshot_id)
    del asked["Architecture"], asked["VirtualizationType"], asked["KernelId"]
    image_id = world.ec2.register_image(**{**asked, "Name": "by default"})["ImageId"]
    [image] = world.ec2.describe_images(ImageIds=[image_id])["Images"]
    assert (image["Architecture"], image["VirtualizationType"]) == ("i386", "paravirtual")


def test_a_name_is_one_images(world: World) -> None:
    image_id = register(world.ec2, "one of a kind", world.snapshot_id)
    asked = _put_in(hvm(Name="one of a kind"), "SNAPSHOT", world.snapshot_id)
    assert code_of(world.ec2.register_image, **asked) == "InvalidAMIName.Duplicate"
    wish = CopyWish("one of a kind", REGION, ACCOUNT, taken_by=image_id)
    assert code_of_first(check_copy(world.facts(image_id), wish)) == "InvalidAMIName.Duplicate"


def test_a_kernel_that_is_missing_is_warned_of() -> None:
    root = BlockDeviceMapping("/dev/sda1", ebs=EbsDevice())
    about = (Architecture.X86_64, VirtualizationType.PARAVIRTUAL, "/dev/sda1", (root,))
    assert [one.rule for one in advise_registration(ImageRegistration("x", *about))] == [
        "kernel-missing"
    ]
    assert list(advise_registration(ImageRegistration("x", *about, kernel_id=X64))) == []


@pytest.mark.parametrize(
    ("architecture", "mode", "told"),
    [
        ("arm64", "uefi", []),
        ("arm64", "legacy-bios", ["boot-mode-architecture"]),
        ("x86_64", "legacy-bios", []),
    ],
)
def test_a_boot_mode_that_no_instance_type_has_is_warned_of(
    world: World, architecture: str, mode: str, told: list[str]
) -> None:
    """No document says that EC2 refuses it: nothing launches from it."""
    asked = _put_in(hvm(Architecture=architecture, BootMode=mode), "SNAPSHOT", world.snapshot_id)
    plain_one = ImageRegistration(
        "x", Architecture.I386, VirtualizationType.PARAVIRTUAL, "/dev/xvda", ()
    )
    assert [one.rule for one in advise_registration(plain_one.asked(asked))] == told
    assert code_of(world.ec2.register_image, **asked, DryRun=True) == "DryRunOperation"


def test_a_snapshot_is_completed_and_of_the_region(world: World, tmp_path: Path) -> None:
    asked = _put_in(hvm(), "SNAPSHOT", world.snapshot_id)
    assert code_of(world.elsewhere.register_image, **asked) == "InvalidSnapshot.NotFound"
    assert client_of_register(asked, {}) == "InvalidSnapshot.NotFound"
    with Serving(tmp_path / "catalog", "--latency", "1h") as slow:
        ec2 = slow.client()
        started = slow.client("ebs").start_snapshot(VolumeSize=8)["SnapshotId"]
        asked = _put_in(hvm(), "SNAPSHOT", started)
        assert code_of(ec2.register_image, **asked) == "IncorrectState"
    pending = {started: "pending"}
    assert client_of_register(asked, {started: 8}, **pending) == "IncorrectState"


# Copying: the row, how the source is made, what is asked, and EC2's code.
def plain(world: World) -> str:
    return register(world.ec2, next_name(), world.snapshot_id)


def encrypted(world: World, *, key: str | None = OWN_KEY) -> str:
    more = {} if key is None else {"KmsKeyId": key}
    snapshot_id = make_snapshot(world.ec2, size_gib=1, Encrypted=True, **more)
    return register(world.ec2, next_name(), snapshot_id)


def by_default_key(world: World) -> str:
    return encrypted(world, key=None)


def coded(world: World) -> str:
    image_id = plain(world)
    world.ec2.modify_image_attribute(ImageId=image_id, ProductCodes=["774F4FF8"])
    return image_id


def disabled(world: World) -> str:
    image_id = plain(world)
    world.ec2.disable_image(ImageId=image_id)
    return image_id


def of_another(
    world: World, *, shares_storage: bool = True, is_coded: bool = False, **volume_: Any
) -> str:
    snapshot_id = make_snapshot(world.other, **volume_)
    image_id = register(world.other, next_name(), snapshot_id)
    if shares_storage:
        world.other.modify_snapshot_attribute(
            SnapshotId=snapshot_id,
            Attribute="createVolumePermission",
            OperationType="add",
            UserIds=[ACCOUNT],
        )
    if is_coded:
        world.other.modify_image_attribute(ImageId=image_id, ProductCodes=["774F4FF8"])
    permission = {"Add": [{"UserId": ACCOUNT}]}
    world.other.modify_image_attribute(ImageId=image_id, LaunchPermission=permission)
    return image_id


def shared(world: World) -> str:
    return of_another(world)


def shared_without_storage(world: World) -> str:
    return of_another(world, shares_storage=False)


def shared_and_coded(world: World) -> str:
    return of_another(world, is_coded=True)


def shared_and_encrypted(world: World) -> str:
    key = OWN_KEY.replace(ACCOUNT, OTHER_ACCOUNT)
    return of_another(world, Encrypted=True, KmsKeyId=key)


_NUMBERS = iter(range(10_000))


def next_name() -> str:
    return f"image {next(_NUMBERS)}"


THERE_KEY = OWN_KEY.replace(REGION, ELSEWHERE)
Made = Callable[[World], str]
NOT_PERMITTED = "OperationNotPermitted"
COPY: list[tuple[str, Made, dict[str, Any], str]] = [
    ("plain", plain, {}, ""),
    ("name", plain, {"Name": "x"}, MALFORMED),
    ("description", plain, {"Description": "x" * 256}, VALUE),
    ("to encrypted", plain, {"Encrypted": True}, ""),
    ("to encrypted", plain, {"Encrypted": True, "KmsKeyId": THERE_KEY}, ""),
    ("key of another region", plain, {"Encrypted": True, "KmsKeyId": OWN_KEY}, VALUE),
    ("key alone", plain, {"KmsKeyId": THERE_KEY}, "InvalidParameterDependency"),
    ("encrypted stays so", encrypted, {}, ""),
    ("encrypted stays so", encrypted, {"Encrypted": False}, TOGETHER),
    ("own, with a code", coded, {}, ""),
    ("disabled", disabled, {}, "InvalidAMIID.Unavailable"),
    ("shared", shared, {}, ""),
    ("shared without its storage", shared_without_storage, {}, "InvalidRequest"),
    ("shared, with a code", shared_and_coded, {}, NOT_PERMITTED),
    ("shared and encrypted", shared_and_encrypted, {}, NOT_PERMITTED),
]


@pytest.mark.parametrize(
    ("made", "asked", "code"), [one[1:] for one in COPY], ids=[one[0] for one in COPY]
)
def test_copying(world: World, made: Made, asked: dict[str, Any], code: str) -> None:
    source = made(world)
    wish = CopyWish(
        name=asked.get("Name", f"copy of {source}"),
        region=ELSEWHERE,
        owner_id=ACCOUNT,
        description=asked.get("Description", ""),
        encrypted=asked.get("Encrypted"),
        kms_key_id=asked.get("KmsKeyId"),
    )
    request = {"Name": wish.name, "SourceImageId": source, "SourceRegion": REGION, **asked}
    assert code_of_first(check_copy(world.facts(source), wish)) == code
    assert code_of(world.elsewhere.copy_image, **request) == code


@pytest.mark.parametrize(
    ("region", "code"),
    [(ELSEWHERE, ""), ("af-south-1", ""), ("cn-north-1", VALUE), ("us-gov-west-1", VALUE)],
)
def test_a_copy_stays_in_its_partition(world: World, region: str, code: str) -> None:
    source = plain(world)
    ec2 = world.serving.client(region=region)
    wish = CopyWish(f"copy into {region}", region, ACCOUNT)
    request = {"Name": wish.name, "SourceImageId": source, "SourceRegion": REGION}
    assert code_of_first(check_copy(world.facts(source), wish)) == code
    assert code_of(ec2.copy_image, **request) == code
    asked = {"SourceSnapshotId": world.snapshot_id, "SourceRegion": REGION}
    assert code_of_first(check_partition(world.snapshot_id, REGION, region)) == code
    assert code_of(ec2.copy_snapshot, **asked) == code


def test_only_so_many_copies_are_made_at_once(tmp_path: Path) -> None:
    with Serving(tmp_path / "catalog", "--latency", "0s") as serving:
        source_id = register(serving.client(), "source", make_snapshot(serving.client()))
    with Serving(tmp_path / "catalog", "--latency", "1h") as serving:
        copy = serving.client(region=ELSEWHERE).copy_image
        asked = {"SourceImageId": source_id, "SourceRegion": REGION}
        made = [code_of(copy, Name=f"copy {number}", **asked) for number in range(26)]
    assert made == [""] * 25 + ["ResourceLimitExceeded"]
    source = ImageFacts(source_id, ACCOUNT, REGION)
    for pending, code in ((24, ""), (25, "ResourceLimitExceeded")):
        wish = CopyWish("a copy", ELSEWHERE, ACCOUNT, pending_into=pending, pending_from=pending)
        assert code_of_first(check_copy(source, wish)) == code


# Sharing: the row, how the image is made, whom it is shared with, and EC2's code.
SHARE: list[tuple[str, Made, list[tuple[str, str]], str]] = [
    ("with an account", plain, [OTHER], ""),
    ("public", plain, [ALL], ""),
    ("whom", plain, [("UserId", "12345")], "InvalidAMIAttributeItemValue"),
    ("whom", plain, [("Group", "some")], VALUE),
    ("with a code", coded, [OTHER], ""),
    ("with a code", coded, [ALL], NOT_PERMITTED),
    ("encrypted", encrypted, [OTHER], ""),
    ("encrypted", encrypted, [ALL], NOT_PERMITTED),
    ("encrypted by the default key", by_default_key, [OTHER], NOT_PERMITTED),
    ("disabled", disabled, [OTHER], NOT_PERMITTED),
]


@pytest.mark.parametrize(
    ("made", "add", "code"), [one[1:] for one in SHARE], ids=[one[0] for one in SHARE]
)
def test_sharing(world: World, made: Made, add: list[tuple[str, str]], code: str) -> None:
    image_id = made(world)
    assert code_of_first(check_share(world.facts(image_id), ShareWish(add=add))) == code
    permission = {"Add": [{kind_: value} for kind_, value in add]}
    asked = {"ImageId": image_id, "LaunchPermission": permission}
    assert code_of(world.ec2.modify_image_attribute, **asked) == code


@pytest.mark.parametrize(
    ("key", "add", "code"),
    [
        ("", ALL, ""),
        ("", ("UserId", "me"), VALUE),
        (OWN_KEY, OTHER, ""),
        (OWN_KEY, ALL, NOT_PERMITTED),
        ("default", OTHER, NOT_PERMITTED),
    ],
)
def test_sharing_a_snapshot(world: World, key: str, add: tuple[str, str], code: str) -> None:
    more = {"": {}, "default": {"Encrypted": True}}.get(key, {"Encrypted": True, "KmsKeyId": key})
    snapshot_id = make_snapshot(world.ec2, **more)
    facts = world.snapshot_facts(snapshot_id)
    assert code_of_first(check_snapshot_share(facts, ShareWish(add=[add]))) == code
    asked = {"Add": [{add[0]: add[1]}]}
    modify = world.ec2.modify_snapshot_attribute
    assert code_of(modify, SnapshotId=snapshot_id, CreateVolumePermission=asked) == code


def test_nobody_is_added_and_removed_in_one_call(world: World) -> None:
    image_id = plain(world)
    both = ShareWish(add=[OTHER], remove=[ALL])
    assert code_of_first(check_share(world.facts(image_id), both)) == TOGETHER
    asked = {"Add": [{"UserId": OTHER_ACCOUNT}], "Remove": [{"Group": "all"}]}
    modify = world.ec2.modify_image_attribute
    assert code_of(modify, ImageId=image_id, LaunchPermission=asked) == TOGETHER


def test_a_product_code_is_for_good(world: World) -> None:
    modify = world.ec2.modify_image_attribute
    for made, codes, code in (
        (coded, ["774F4FF8"], ""),
        (coded, ["another"], NOT_PERMITTED),
        (plain, ["a b"], "InvalidProductCode.Malformed"),
    ):
        image_id = made(world)
        assert code_of_first(check_product_codes(world.facts(image_id), codes)) == code
        assert code_of(modify, ImageId=image_id, ProductCodes=codes) == code
    public = plain(world)
    modify(ImageId=public, LaunchPermission={"Add": [{"Group": "all"}]})
    found = check_product_codes(world.facts(public), ["774F4FF8"])
    assert code_of_first(found) == NOT_PERMITTED
    assert code_of(modify, ImageId=public, ProductCodes=["774F4FF8"]) == NOT_PERMITTED


def test_deregistering_comes_before_cleaning_and_protection_before_it(world: World) -> None:
    snapshot_id = make_snapshot(world.ec2)
    image_id = register(world.ec2, next_name(), snapshot_id)
    world.ec2.enable_image_deregistration_protection(ImageId=image_id)
    assert code_of_first(check_deregister(world.facts(image_id))) == NOT_PERMITTED
    assert code_of(world.ec2.deregister_image, ImageId=image_id) == NOT_PERMITTED
    world.ec2.disable_image_deregistration_protection(ImageId=image_id)
    in_use = check_delete_snapshot(snapshot_id, [image_id])
    assert code_of_first(in_use) == "InvalidSnapshot.InUse"
    assert code_of(world.ec2.delete_snapshot, SnapshotId=snapshot_id) == "InvalidSnapshot.InUse"
    assert code_of_first(check_deregister(world.facts(image_id))) == ""
    assert code_of(world.ec2.deregister_image, ImageId=image_id) == ""
    assert code_of_first(check_delete_snapshot(snapshot_id, [])) == ""
    assert code_of(world.ec2.delete_snapshot, SnapshotId=snapshot_id) == ""


def test_a_bucket_takes_acls_and_is_of_the_region(world: World) -> None:
    s3 = world.serving.client("s3", region=REGION)
    for name, ownership, code in (
        ("takes-acls", "BucketOwnerPreferred", ""),
        ("takes-none", "BucketOwnerEnforced", "AccessControlListNotSupported"),
    ):
        s3.create_bucket(Bucket=name, ObjectOwnership=ownership)
        rules = s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"]["Rules"]
        takes_acls = rules[0]["ObjectOwnership"] != "BucketOwnerEnforced"
        found = check_bucket(BucketFacts(name, REGION, takes_acls), region=REGION)
        assert code_of_first(found) == code
        put = {"Bucket": name, "Key": "m.xml", "ACL": "aws-exec-read", "Body": b""}
        assert code_of(s3.put_object, **put) == code
    found = check_bucket(BucketFacts("takes-acls", REGION, takes_acls=True), region=ELSEWHERE)
    assert code_of_first(found) == "InvalidManifest"
    asked = {"Name": next_name(), "ImageLocation": "takes-acls/m.xml"}
    assert code_of(world.elsewhere.register_image, **asked) == "InvalidManifest"


def damage(folder: Path) -> None:
    part = next(folder.glob("*.part.*"))
    part.write_bytes(bytes(part.stat().st_size))


def shorten(folder: Path) -> None:
    part = next(folder.glob("*.part.*"))
    part.write_bytes(part.read_bytes()[:-1])


def lose_a_part(folder: Path) -> None:
    next(folder.glob("*.part.*")).unlink()


def claim_more(folder: Path) -> None:
    [path] = folder.glob("*.xml")
    text = path.read_bytes()
    path.write_bytes(text.replace(b"<size>4096</size>", b"<size>%d</size>" % (10 * 2**30 + 1)))


def garble(folder: Path) -> None:
    [path] = folder.glob("*.xml")
    path.write_bytes(path.read_bytes()[:-50])


@pytest.mark.parametrize(
    ("change", "asked", "code"),
    [
        (None, {}, ""),
        (damage, {}, "InvalidManifest"),
        (shorten, {}, "InvalidManifest"),
        (lose_a_part, {}, "InvalidManifest"),
        (claim_more, {}, "InvalidManifest"),
        (garble, {}, "InvalidManifest"),
        (None, {"Architecture": "arm64"}, TOGETHER),
        (None, {"KernelId": X64}, TOGETHER),
    ],
)
def test_a_bundle(
    world: World,
    tmp_path: Path,
    change: Callable[[Path], None] | None,
    asked: dict[str, Any],
    code: str,
) -> None:
    (tmp_path / "image").write_bytes(b"x" * 4096)
    manifest = make_material(tmp_path, tmp_path / "image").bundle.manifest_path
    if change:
        change(manifest.parent)
    asked = {"VirtualizationType": "hvm", **asked}
    found = preflight_bundle(manifest, name="a bundle", asked=asked, region=REGION)
    assert [one.code for one in found][:1] == ([code] if code else [])
    location = upload(world, manifest.parent, next_name().replace(" ", "-"))
    request = {"Name": next_name(), "ImageLocation": location, **asked}
    assert code_of(world.ec2.register_image, **request) == code
    if not code:
        theirs = preflight_bundle(
            manifest, name="a bundle", asked=asked, account_id=OTHER_ACCOUNT, region=REGION
        )
        assert [one.code for one in theirs] == ["InvalidManifest"]
        assert code_of(world.other.register_image, **request) == "InvalidManifest"


def upload(world: World, folder: Path, bucket: str) -> str:
    s3 = world.serving.client("s3", region=REGION)
    s3.create_bucket(Bucket=bucket, ObjectOwnership="ObjectWriter")
    for path in folder.iterdir():
        s3.put_object(Bucket=bucket, Key=path.name, ACL="aws-exec-read", Body=path.read_bytes())
    [manifest] = folder.glob("*.xml")
    return f"{bucket}/{manifest.name}"


# The disk itself: what is in it, and the rules that it breaks.
KERNEL = make_bzimage(gzip.compress(make_elf()))
MENU = (
    "default 0\nfallback 1\ntimeout 0\n"
    "title new\nroot (hd0)\nkernel /boot/k root=LABEL=root console=hvc0\ninitrd /boot/i\n"
    "title old\nroot (hd0)\nkernel /boot/k root=LABEL=root console=hvc0\n"
)
HVM_MENU = MENU.replace("(hd0)", "(hd0,0)").replace("hvc0", "ttyS0")


def files(menu: str = MENU, *, kernel: bytes = KERNEL, system: bytes = b"") -> dict[str, bytes]:
    release = {"etc/os-release": system} if system else {}
    return {"boot/k": kernel, "boot/i": b"i", "boot/grub/menu.lst": menu.encode(), **release}


def looked_at(disk: Path, **asked: Any) -> set[str]:
    """Return what keeps an image of this disk out, or is warned of."""
    is_pv = asked.get("VirtualizationType") == "paravirtual"
    root = "/dev/sda1" if is_pv else "/dev/xvda"
    registration = ImageRegistration(
        "a name",
        Architecture.X86_64,
        VirtualizationType.HVM,
        root,
        (BlockDeviceMapping(root, ebs=EbsDevice()),),
    ).asked(asked)
    opened: Disk = open_disk(disk)
    found = preflight(registration, disk=opened, region=REGION)
    return {one.rule for one in found if one.severity is not Severity.NOTED}


PV = {"VirtualizationType": "paravirtual", "KernelId": X64}
LZ4 = make_bzimage(b"\x02\x21\x4c\x18" + bytes(50))


@pytest.mark.parametrize(
    ("content", "rules"),
    [
        (files(), set()),
        (files(kernel=LZ4), {"kernel-compression"}),
        (files(menu=MENU.replace("/boot/k", "/boot/none")), {"kernel-missing"}),
        ({"boot/k": KERNEL}, {"menu-missing"}),
        (files(kernel=make_bzimage(gzip.compress(make_elf(bits=32)), bits=32)), {"kernel-bits"}),
        (
            files(menu=MENU.replace("(hd0)", "(hd0,0)")),
            {"root-layout", "kernel-missing", "initrd-missing"},
        ),
        (files(system=b'PRETTY_NAME="SUSE Linux Enterprise 15"'), {"billing-code"}),
        (files(system=b'NAME="Debian GNU/Linux"\n'), set()),
    ],
)
def test_a_pv_disk(tmp_path: Path, content: dict[str, bytes], rules: set[str]) -> None:
    assert looked_at(make_disk(tmp_path, content), **PV) == rules


@pytest.mark.parametrize(
    ("menu", "rules"),
    [
        (HVM_MENU, set()),
        (
            HVM_MENU.replace("(hd0,0)", "(hd0)"),
            {"root-layout", "kernel-missing", "initrd-missing"},
        ),
        (HVM_MENU.replace("ttyS0", "tty0"), {"console-missing"}),
    ],
)
def test_an_hvm_disk(tmp_path: Path, menu: str, rules: set[str]) -> None:
    assert looked_at(make_hvm_disk(tmp_path, files(menu))) == rules


def test_an_hvm_disk_has_a_partition_table_and_boot_code(tmp_path: Path) -> None:
    disk = make_disk(tmp_path, files(HVM_MENU), partitions=1)
    # Without boot code it is a disk for PV-GRUB's hd00 kernels.
    assert looked_at(disk) == {"boot-code-missing", "virtualization-type"}
    (tmp_path / "whole").mkdir()
    assert looked_at(make_disk(tmp_path / "whole", files(HVM_MENU)))
    make_gpt(disk)
    assert "esp" in looked_at(disk, BootMode="uefi")
