"""The AES key of a bundle: how it is handed to its two readers, and who signed the manifest.

RSA encrypts the 32 hexadecimal digits of key and IV, as text, by PKCS #1 v1.5; the signature is
RSA's, PKCS #1 v1.5 with SHA-1. Both are the original's: EC2 takes no other.
"""

import os
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from imgforge.bundle.keys import Certificate, PrivateKey
from imgforge.bundle.manifest import Manifest, SealedKey
from imgforge.bundle.manifest_reader import ManifestFile
from imgforge.bundle.manifest_writer import write_signed
from imgforge.bundle.problem import BundleError
from imgforge.errors import HostError

_KEY_BYTES = 16
_HEX = re.compile(rb"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Secret:
    """The AES key and the IV of a bundle, 16 bytes each; never shown."""

    key: bytes = field(repr=False)
    iv: bytes = field(repr=False)


class Reader(StrEnum):
    """Whose private key opens a bundle."""

    USER = "user"
    EC2 = "ec2"


class SignatureForm(StrEnum):
    """What a good signature is over: the bytes of the file, or those with single quotes."""

    AS_IT_STANDS = "as it stands"
    REQUOTED = "with single quotes"


def make_secret() -> Secret:
    """Return a new secret, from the kernel's random numbers."""
    return Secret(os.urandom(_KEY_BYTES), os.urandom(_KEY_BYTES))


def seal_secret(secret: Secret, *, user: Certificate, ec2: Certificate) -> SealedKey:
    """Return a secret encrypted for its two readers."""
    return SealedKey(
        ec2_key=_encrypt(secret.key, ec2.public_key),
        user_key=_encrypt(secret.key, user.public_key),
        ec2_iv=_encrypt(secret.iv, ec2.public_key),
        user_iv=_encrypt(secret.iv, user.public_key),
    )


def open_secret(sealed: SealedKey, *, key: PrivateKey, reader: Reader) -> Secret:
    """Return the secret that `key` opens. Raises BundleError (key) where it is another's."""
    texts = (
        (sealed.user_key, sealed.user_iv)
        if reader is Reader.USER
        else (sealed.ec2_key, sealed.ec2_iv)
    )
    opened = [_decrypt(bytes.fromhex(text), key.secret) for text in texts]
    if None in opened:
        raise BundleError(
            "key",
            f"Key {key.label}: does not open this bundle; the private key of the {reader} "
            "certificate that it was made for is needed.",
        )
    return Secret(*(one for one in opened if one is not None))


def sign_manifest(manifest: Manifest, key: PrivateKey) -> Manifest:
    """Return a manifest with its signature."""
    try:
        signature = key.secret.sign(
            write_signed(manifest).encode(),
            padding.PKCS1v15(),
            hashes.SHA1(),  # noqa: S303 (what EC2 verifies)
        )
    except UnsupportedAlgorithm:
        raise _no_sha1() from None
    return replace(manifest, signature=signature.hex())


def verify_signature(file: ManifestFile, public_key: rsa.RSAPublicKey) -> SignatureForm | None:
    """Return what a manifest's signature is over; None where it is not this key's.

    The file's bytes are tried first: the original, which compares with single quotes, refuses
    some manifests that others have rightly signed.
    """
    signature = bytes.fromhex(file.manifest.signature)
    for form, text in (
        (SignatureForm.AS_IT_STANDS, file.signed_as_it_stands),
        (SignatureForm.REQUOTED, file.signed_requoted),
    ):
        try:
            public_key.verify(signature, text, padding.PKCS1v15(), hashes.SHA1())  # noqa: S303
        except InvalidSignature:
            continue
        except UnsupportedAlgorithm:
            raise _no_sha1() from None
        return form
    return None


def _encrypt(content: bytes, public_key: rsa.RSAPublicKey) -> str:
    return public_key.encrypt(content.hex().encode(), padding.PKCS1v15()).hex()


def _decrypt(content: bytes, key: rsa.RSAPrivateKey) -> bytes | None:
    try:
        text = key.decrypt(content, padding.PKCS1v15())
    except ValueError:
        return None
    # A wrong key need not be an error: OpenSSL 3.2 gives random bytes then.
    return bytes.fromhex(text.decode()) if _HEX.fullmatch(text) else None


def _no_sha1() -> HostError:
    return HostError(
        "The signature of a bundle is RSA with SHA-1, and this host's crypto policy forbids SHA-1.",
        hint="Allow it for this command: update-crypto-policies, or OPENSSL_CONF.",
    )
