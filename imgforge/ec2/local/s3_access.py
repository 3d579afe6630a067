"""Who may do what: canned ACLs become grants, where a bucket knows ACLs at all.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/acl-overview.html
https://docs.aws.amazon.com/AmazonS3/latest/userguide/about-object-ownership.html
"""

from typing import Any

from imgforge.ec2.local.buckets import Bucket
from imgforge.ec2.local.rest_xml import Call
from imgforge.ec2.local.wire import RefusalError

OWNER = {"ID": "9f5c1f3f04e1d3bd3d2f4c53ad5fbf2b9a4f9e6f9d1c7a0b8e2d6c4b0a1f3e5d"}
"""The canonical user that owns everything here."""
EC2_BUNDLES = "6aa5a366c34c1cbe25dc49211496e913e0351eb0e8c37aa3477e40942ec6b97c"
"""The canonical user by which EC2 reads bundles: aws-exec-read grants READ to it."""
ENFORCED = "BucketOwnerEnforced"
_GROUPS = "http://acs.amazonaws.com/groups/global/"
_CANNED: dict[str, tuple[tuple[dict[str, str], str], ...]] = {
    "private": (),
    "bucket-owner-read": (),
    "bucket-owner-full-control": (),
    "public-read": (({"URI": _GROUPS + "AllUsers"}, "READ"),),
    "public-read-write": (
        ({"URI": _GROUPS + "AllUsers"}, "READ"),
        ({"URI": _GROUPS + "AllUsers"}, "WRITE"),
    ),
    "authenticated-read": (({"URI": _GROUPS + "AuthenticatedUsers"}, "READ"),),
    "aws-exec-read": (({"ID": EC2_BUNDLES}, "READ"),),
}
_GRANTS = ("GrantFullControl", "GrantRead", "GrantReadACP", "GrantWrite", "GrantWriteACP")


def wanted_acl(call: Call, bucket: Bucket) -> str:
    """Return the canned ACL that a call asks for.

    Raises RefusalError: AccessControlListNotSupported where the bucket knows none.
    """
    if any(name in call.values for name in (*_GRANTS, "AccessControlPolicy")):
        if bucket.ownership == ENFORCED:
            raise _no_acls()
        raise RefusalError("NotImplemented", "Only canned ACLs are taken here.", status=501)
    acl = str(call.values.get("ACL", "private"))
    if acl not in _CANNED:
        raise RefusalError("InvalidArgument", f"There is no canned ACL {acl}.")
    if bucket.ownership == ENFORCED and acl not in {"private", "bucket-owner-full-control"}:
        raise _no_acls()
    if bucket.ownership == ENFORCED and acl == "private" and "ACL" in call.values:
        raise _no_acls()
    return acl


def _no_acls() -> RefusalError:
    return RefusalError("AccessControlListNotSupported", "The bucket does not allow ACLs")


def grants_of(acl: str) -> list[dict[str, Any]]:
    """Return the grants of a canned ACL, as GetObjectAcl tells them."""
    owner = {"Grantee": {**OWNER, "Type": "CanonicalUser"}, "Permission": "FULL_CONTROL"}
    others = [
        {
            "Grantee": {**grantee, "Type": "Group" if "URI" in grantee else "CanonicalUser"},
            "Permission": permission,
        }
        for grantee, permission in _CANNED[acl]
    ]
    return [owner, *others]


def require_reader(call: Call, acl: str) -> None:
    """Raise RefusalError (AccessDenied) for somebody unknown, but where everybody may read."""
    if call.request.caller is None and not acl.startswith("public-read"):
        raise denied()


def require_owner(call: Call) -> None:
    """Raise RefusalError (AccessDenied) for somebody unknown."""
    if call.request.caller is None:
        raise denied()


def denied() -> RefusalError:
    """Return what whoever may not is told."""
    return RefusalError("AccessDenied", "Access Denied", status=403)
