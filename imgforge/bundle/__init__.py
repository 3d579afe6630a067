"""The instance-store bundle: an image in encrypted parts, and the manifest that is signed."""

from imgforge.bundle.check import Check, Outcome, Verification
from imgforge.bundle.create import (
    Bundle,
    BundleWish,
    Signers,
    check_wish,
    create_bundle,
)
from imgforge.bundle.edit import Edit, OldSignature, edit_manifest
from imgforge.bundle.extract import (
    Extracted,
    Opener,
    extract_bundle,
    load_manifest,
    read_manifest_file,
    require_signature,
)
from imgforge.bundle.key_files import write_signing_pair
from imgforge.bundle.keys import (
    Certificate,
    MadePair,
    PrivateKey,
    SigningPair,
    certificate_from_pem,
    make_signing_pair,
    read_certificate,
    read_private_key,
    signing_pair,
)
from imgforge.bundle.machine_rules import ARCHITECTURES
from imgforge.bundle.manifest import (
    BundledImage,
    MachineConfiguration,
    Manifest,
    ManifestVersion,
    Mapping,
    Part,
)
from imgforge.bundle.manifest_reader import ManifestFile, read_manifest
from imgforge.bundle.migrate import Migration, OldIds, migrate_manifest
from imgforge.bundle.names import MANIFEST_SUFFIX, is_part_of, is_safe_name
from imgforge.bundle.passing import Passing
from imgforge.bundle.place import Existing
from imgforge.bundle.problem import BundleError
from imgforge.bundle.secret import Reader
from imgforge.bundle.verify import KeyRing, verify_bundle
from imgforge.bundle.xml_reader import LARGEST_BYTES as LARGEST_MANIFEST_BYTES

__all__ = [
    "ARCHITECTURES",
    "LARGEST_MANIFEST_BYTES",
    "MANIFEST_SUFFIX",
    "Bundle",
    "BundleError",
    "BundleWish",
    "BundledImage",
    "Certificate",
    "Check",
    "Edit",
    "Existing",
    "Extracted",
    "KeyRing",
    "MachineConfiguration",
    "MadePair",
    "Manifest",
    "ManifestFile",
    "ManifestVersion",
    "Mapping",
    "Migration",
    "OldIds",
    "OldSignature",
    "Opener",
    "Outcome",
    "Part",
    "Passing",
    "PrivateKey",
    "Reader",
    "Signers",
    "SigningPair",
    "Verification",
    "certificate_from_pem",
    "check_wish",
    "create_bundle",
    "edit_manifest",
    "extract_bundle",
    "is_part_of",
    "is_safe_name",
    "load_manifest",
    "make_signing_pair",
    "migrate_manifest",
    "read_certificate",
    "read_manifest",
    "read_manifest_file",
    "read_private_key",
    "require_signature",
    "signing_pair",
    "verify_bundle",
    "write_signing_pair",
]
