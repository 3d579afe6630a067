"""ec2-bundle-vol, with the flags that people know.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ami-tools-commands.html#ami-bundle-vol
"""

from pathlib import Path
from typing import Annotated

import typer

from imgforge.cli.bundle_input import (
    ec2_certificate,
    existing,
    parse_mappings,
    plain_account,
    read_pair,
)
from imgforge.cli.bundle_volume import (
    AllOption,
    ExcludeOption,
    FilesystemOption,
    FstabOption,
    GenerateFstabOption,
    IncludeOption,
    NoFilterOption,
    NoInheritOption,
    PartitionOption,
    filesystem_type,
    split_list,
    whole_mebibytes,
)
from imgforge.cli.ec2_tools import (
    BatchOption,
    CertOption,
    DebugOption,
    Ec2CertOption,
    ForceOption,
    KernelOption,
    KeyOption,
    RamdiskOption,
    VersionOption,
)
from imgforge.cli.progress import shown_progress
from imgforge.cli.terminal import stderr_console, stdout_console

_PATH = "PATH"
_MIB = 2**20


def bundle_vol(
    *,
    privatekey: KeyOption,
    cert: CertOption,
    user: Annotated[
        str, typer.Option("-u", "--user", metavar="ID", help="Your AWS account's 12 digits.")
    ],
    arch: Annotated[str, typer.Option("-r", "--arch", help="i386 or x86_64.")] = "x86_64",
    volume: Annotated[
        Path,
        typer.Option(
            "-v", "--volume", metavar=_PATH, help="The tree; ours: a recipe or a raw disk, too."
        ),
    ] = Path("/"),
    destination: Annotated[
        Path, typer.Option("-d", "--destination", metavar=_PATH, help="Where the bundle goes.")
    ] = Path("/tmp"),  # noqa: S108 (the original's; nothing of another user's there is followed)
    prefix: Annotated[str, typer.Option("-p", "--prefix", help="The bundle's name.")] = "image",
    size: Annotated[
        int | None,
        typer.Option("-s", "--size", metavar="MB", help="The image's MiB; else 10240 for a tree."),
    ] = None,
    partition: PartitionOption = None,
    exclude: ExcludeOption = None,
    include: IncludeOption = None,
    no_filter: NoFilterOption = False,
    all_mounts: AllOption = False,
    fstab: FstabOption = None,
    generate_fstab: GenerateFstabOption = False,
    filesystem: FilesystemOption = None,
    mapping: Annotated[
        list[str] | None,
        typer.Option("-B", "--block-device-mapping", metavar="V=D,…", help="Devices."),
    ] = None,
    kernel: KernelOption = "",
    ramdisk: RamdiskOption = "",
    productcodes: Annotated[
        str, typer.Option("--productcodes", metavar="A,B", help="Product codes.")
    ] = "",
    no_inherit: NoInheritOption = False,
    ec2cert: Ec2CertOption = None,
    force: ForceOption = False,
    batch: BatchOption = False,
    debug: DebugOption = False,
    version: VersionOption = False,
) -> None:
    """Bundle this machine's root volume, or another tree: encrypted parts and a signed manifest."""
    from imgforge.bundle import BundleWish, MachineConfiguration, Signers
    from imgforge.bundle_volume import VolumeWish, bundle_volume, read_fstab
    from imgforge.volume_source import open_source

    machine = MachineConfiguration(
        architecture=arch,
        mappings=parse_mappings(mapping or []),
        kernel_id=kernel,
        ramdisk_id=ramdisk,
        product_codes=tuple(code for code in productcodes.split(",") if code),
    )
    wish = VolumeWish(
        partition=partition,
        size_bytes=whole_mebibytes(size * _MIB) if size is not None else None,
        filesystem=filesystem_type(filesystem),
        excluded=split_list(exclude),
        included=split_list(include),
        filtered=not no_filter,
        fstab=read_fstab(fstab),
        generates_fstab=generate_fstab,
        inherits=not no_inherit,
    )
    with shown_progress(stderr_console()):
        signers = Signers(read_pair(privatekey, cert), ec2_certificate(ec2cert))
        made = bundle_volume(
            open_source(volume, all_mounts=all_mounts),
            wish,
            bundle=BundleWish(prefix, plain_account(user), machine),
            signers=signers,
            destination=destination,
            existing=existing(force=force),
        )
    console = stdout_console()
    console.print(f"Bundle manifest is {made.bundle.manifest_path}", markup=False, soft_wrap=True)
