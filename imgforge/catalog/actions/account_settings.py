"""What an account sets once for a region: encryption by default, its key, no public sharing."""

from collections.abc import Callable

from imgforge.catalog.actions.action import Access, action
from imgforge.catalog.actions.snapshot_row import read_key
from imgforge.catalog.refusal import RefusedError
from imgforge.catalog.session import Parameters, Result, Session

_ENCRYPTION = "ebs-encryption-by-default"
_KEY = "ebs-default-key"
_IMAGES = "image-block-public-access"
_SNAPSHOTS = "snapshot-block-public-access"
_UNBLOCKED = "unblocked"


def _setter(name: str, setting: str, value: str, shown: Callable[[str], Result]) -> None:
    def change(session: Session, _: Parameters) -> Result:
        session.set(setting, value)
        return shown(value)

    action(name)(change)


def _encryption(value: str) -> Result:
    return {"EbsEncryptionByDefault": value == "true"}


_setter("EnableEbsEncryptionByDefault", _ENCRYPTION, "true", _encryption)
_setter("DisableEbsEncryptionByDefault", _ENCRYPTION, "false", _encryption)
_setter(
    "DisableImageBlockPublicAccess",
    _IMAGES,
    _UNBLOCKED,
    lambda value: {"ImageBlockPublicAccessState": value},
)
_setter("DisableSnapshotBlockPublicAccess", _SNAPSHOTS, _UNBLOCKED, lambda value: {"State": value})


@action("GetEbsEncryptionByDefault", Access.READ)
def get_encryption_by_default(session: Session, _: Parameters) -> Result:
    """Tell whether new volumes and copies are encrypted unasked."""
    return {"EbsEncryptionByDefault": session.encrypts, "SseType": "sse-kms"}


@action("GetEbsDefaultKmsKeyId", Access.READ)
def get_default_key(session: Session, _: Parameters) -> Result:
    """Tell which key is used where none is named."""
    return {"KmsKeyId": session.default_key}


@action("ModifyEbsDefaultKmsKeyId")
def modify_default_key(session: Session, parameters: Parameters) -> Result:
    """Use another key where none is named."""
    key = read_key(session, parameters["KmsKeyId"])
    if key.problem:
        raise RefusedError("InvalidParameterValue", f"{key.problem}: {parameters['KmsKeyId']}")
    session.set(_KEY, key.arn)
    return {"KmsKeyId": key.arn}


@action("ResetEbsDefaultKmsKeyId")
def reset_default_key(session: Session, _: Parameters) -> Result:
    """Use the account's own key for EBS again where none is named."""
    key = read_key(session, "alias/aws/ebs")
    session.set(_KEY, key.arn)
    return {"KmsKeyId": key.arn}


@action("GetImageBlockPublicAccessState", Access.READ)
def get_image_block(session: Session, _: Parameters) -> Result:
    """Tell whether images can be made public."""
    state = session.setting(_IMAGES, _UNBLOCKED)
    return {"ImageBlockPublicAccessState": state, "ManagedBy": "account"}


@action("EnableImageBlockPublicAccess")
def enable_image_block(session: Session, parameters: Parameters) -> Result:
    """Let no image be made public from now on."""
    state = parameters["ImageBlockPublicAccessState"]
    session.set(_IMAGES, state)
    return {"ImageBlockPublicAccessState": state}


@action("GetSnapshotBlockPublicAccessState", Access.READ)
def get_snapshot_block(session: Session, _: Parameters) -> Result:
    """Tell whether snapshots can be made public."""
    return {"State": session.setting(_SNAPSHOTS, _UNBLOCKED), "ManagedBy": "account"}


@action("EnableSnapshotBlockPublicAccess")
def enable_snapshot_block(session: Session, parameters: Parameters) -> Result:
    """Let no snapshot be made public from now on."""
    state = parameters["State"]
    if state == _UNBLOCKED:
        raise RefusedError("InvalidParameterValue", f"Value ({state}) for State is invalid.")
    session.set(_SNAPSHOTS, state)
    return {"State": state}


def check_images_may_be_public(session: Session) -> None:
    """Refuse to make an image public where the account forbids it."""
    _refuse_blocked(session, _IMAGES, "image", "AMIs")


def check_snapshots_may_be_public(session: Session) -> None:
    """Refuse to make a snapshot public where the account forbids it."""
    _refuse_blocked(session, _SNAPSHOTS, "snapshot", "snapshots")


def _refuse_blocked(session: Session, setting: str, what: str, all_of_them: str) -> None:
    if session.setting(setting, _UNBLOCKED) != _UNBLOCKED:
        raise RefusedError(
            "OperationNotPermitted",
            f"You can't publicly share this {what} because block public access for {all_of_them}"
            " is enabled. To allow the sharing, disable it.",
        )
