"""Every `aws` line of AWS's guide to Linux AMIs, by the number of its line in the guide's text.

Only the commands are here, as they are written there but for a prompt before and blanks behind;
`scripts/guide-lines GUIDE` compares them with the text. What a line is to do stands beside it in
tests/integration/test_serve_guide.py.
"""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

INSTANCES = "needs a running or stopped instance: it comes with instances"
_TOKEN = re.compile(r"[\w-]+")


@dataclass(frozen=True, slots=True)
class GuideLine:
    """A line: what it means instead of what is written, and why, or why it does not run yet.

    One that begins with an option goes on with the line that it is told to be added to.
    """

    number: int
    written: str
    meant: str = ""
    why: str = ""
    later: str = ""
    continues: int = 0

    def words(self, names: Mapping[str, str]) -> list[str]:
        """Return the command without `aws`; `names` are values for the guide's placeholders."""
        if self.continues:
            before = [line for line in LINES if line.number == self.continues]
            return [*before[0].words(names), *_replaced(self.written, names)]
        return _replaced(self.meant or self.written, names)[1:]


def _replaced(line: str, names: Mapping[str, str]) -> list[str]:
    return [
        names.get(word) or _TOKEN.sub(lambda found: names.get(found[0], found[0]), word)
        for word in shlex.split(line)
    ]


_PERMISSION = "aws ec2 modify-image-attribute --image-id ami-12345678 --launch-permission"
_SNAPSHOT = (
    "aws ec2 modify-snapshot-attribute --snapshot-id snap-1234567890abcdef0"
    " --attribute createVolumePermission --operation-type"
)
LINES = (
    GuideLine(228, "aws ec2 describe-images --owners self amazon"),
    GuideLine(232, '--filters "Name=root-device-type,Values=ebs"', continues=228),
    GuideLine(286, "aws ec2 describe-images --executable-users all"),
    GuideLine(292, "aws ec2 describe-images --executable-users self"),
    GuideLine(298, "aws ec2 describe-images --owners amazon"),
    GuideLine(304, "aws ec2 describe-images --owners 123456789012"),
    GuideLine(310, '--filters "Name=root-device-type,Values=ebs"', continues=304),
    GuideLine(377, rf'{_PERMISSION} "{{\"Add\":[{{\"Group\":\"all\"}}]}}"'),
    GuideLine(
        381, "aws ec2 describe-image-attribute --image-id ami-12345678 --attribute launchPermission"
    ),
    GuideLine(
        385,
        rf'{_PERMISSION} "{{\"Remov',
        meant=rf'{_PERMISSION} "{{\"Remove\":[{{\"Group\":\"all\"}}]}}"',
        why="the text is cut off",
    ),
    GuideLine(422, rf'{_PERMISSION} "{{\"Add\":[{{\"UserId\":\"123456789012\"}}]}}"'),
    GuideLine(426, f"{_SNAPSHOT} add --user-ids 123456789012"),
    GuideLine(432, rf'{_PERMISSION} "{{\"Remove\":[{{\"UserId\":\"123456789012\"}}]}}"'),
    GuideLine(436, f"{_SNAPSHOT} remove --user-ids 123456789012"),
    GuideLine(
        442, "aws ec2 reset-image-attribute --image-id ami-12345678 --attribute launchPermission"
    ),
    GuideLine(670, "aws ec2 describe-images --owners aws-marketplace"),
    GuideLine(
        719, 'aws ec2 modify-image-attribute --image-id ami_id --product-codes "product_code"'
    ),
    GuideLine(
        1007,
        "aws iam upload-signing-certificate --user-name user-name"
        " --certificate-body file://path/to/certificate.pem",
    ),
    GuideLine(1011, "aws iam list-signing-certificates --user-name user-name"),
    GuideLine(
        1015,
        "aws iam update-signing-certificate --certificate-id OFHPLP4ZULTHYPMSYEX7O4BEXAMPLE"
        " --status Inactive --user-name user-name",
    ),
    GuideLine(
        1019,
        "aws iam delete-signing-certificate --user-name user-name --certificate-id OFHPLP4ZULT",
        meant="aws iam delete-signing-certificate --user-name user-name"
        " --certificate-id OFHPLP4ZULTHYPMSYEX7O4BEXAMPLE",
        why="the id is cut off",
    ),
    GuideLine(
        1131,
        "aws ec2 register-image"
        " --image-location my-s3-bucket/bundle_folder/bundle_name/image.manifest.xml"
        " --name AMI_name --virtualization-type hvm",
    ),
    GuideLine(
        1305,
        "aws ec2 register-image my-s3-bucket/bundle_folder/bundle_name/image.manifest.xml"
        " --name AMI_name --virtualization-type hvm",
        meant="aws ec2 register-image"
        " --image-location my-s3-bucket/bundle_folder/bundle_name/image.manifest.xml"
        " --name AMI_name_2 --virtualization-type hvm",
        why="--image-location is forgotten; the name is that of another section's image",
    ),
    GuideLine(
        1343,
        "aws ec2 create-volume --size 10 --region us-west-2 --availability-zone us-west-2b",
    ),
    GuideLine(
        1347,
        "aws ec2 attach-volume --volume-id volume_id --instance-id instance_id"
        " --device /dev/sdb --region us-west-2",
        later=INSTANCES,
    ),
    GuideLine(
        1407, "aws ec2 detach-volume --volume-id volume_id --region us-west-2", later=INSTANCES
    ),
    GuideLine(
        1413,
        "aws ec2 create-snapshot --region us-west-2"
        ' --description "your_snapshot_description" --volume-id volume_id',
    ),
    GuideLine(1417, "aws ec2 describe-snapshots --region us-west-2 --snapshot-id snapshot_id"),
    GuideLine(1421, "aws ec2 describe-images --region us-west-2 --image-id ami-id --output text"),
    GuideLine(
        1428,
        "aws ec2 register-image --region us-west-2 --name your_new_ami_name"
        " --block-device-mappings Ebs={SnapshotId=snapshot_id} --virtualization-type hvm"
        " --architecture x86_64 --kernel-id aki-fc8f11cc",
        meant="aws ec2 register-image --region us-west-2 --name your_new_ami_name"
        " --block-device-mappings DeviceName=/dev/sda1,Ebs={SnapshotId=snapshot_id}"
        " --root-device-name /dev/sda1 --virtualization-type paravirtual"
        " --architecture x86_64 --kernel-id aki-fc8f11cc",
        why="hvm has no kernel id, and the original is paravirtual; the mapping names no device",
    ),
    GuideLine(1432, "aws ec2 delete-volume --volume-id volume_id"),
    GuideLine(1750, "aws ec2 deregister-image --image-id ami_id"),
    GuideLine(1758, "aws ec2 terminate-instances --instance-ids instance_id", later=INSTANCES),
    GuideLine(2099, "aws ec2 describe-images --filters Name=image-id,Values=aki-880531cd"),
    GuideLine(
        2161, "aws ec2 describe-images --owners amazon --filters Name=name,Values=pv-grub-*.gz"
    ),
    GuideLine(
        2227,
        "aws ec2 describe-instance-attribute --instance-id instance_id --attribute kernel"
        " --region region",
        later=INSTANCES,
    ),
    GuideLine(2238, "aws ec2 describe-images --image-ids aki-70cb0e10 --region region"),
    GuideLine(
        2261, "aws ec2 stop-instances --instance-ids instance_id --region region", later=INSTANCES
    ),
    GuideLine(
        2265,
        "aws ec2 modify-instance-attribute --instance-id instance_id --kernel kernel_id"
        " --region region",
        later=INSTANCES,
    ),
    GuideLine(
        2269, "aws ec2 start-instances --instance-ids instance_id --region region", later=INSTANCES
    ),
)
