"""Keys and certificates: who signs a bundle, and who may open it.

https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/set-up-ami-tools.html ("Manage signing
certificates"): an RSA key of 2048 or 4096 bits and an X.509 certificate of it, both PEM.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from imgforge.bundle.problem import BundleError
from imgforge.errors import BadInputError
from imgforge.files import read_small

_LARGEST_FILE_BYTES = 64 * 1024
_SOON = timedelta(days=30)


@dataclass(frozen=True, slots=True)
class Certificate:
    """An X.509 certificate of an RSA key; `label` is its file, for messages."""

    label: str
    x509: x509.Certificate
    public_key: rsa.RSAPublicKey

    def expiry_problem(self, now: datetime) -> str:
        """Return what is wrong, or soon will be, with its time; "" where nothing is."""
        start, end = self.x509.not_valid_before_utc, self.x509.not_valid_after_utc
        if now < start:
            return f"Certificate {self.label}: is valid only from {start:%Y-%m-%d} on."
        if now > end:
            return f"Certificate {self.label}: expired on {end:%Y-%m-%d}."
        if now + _SOON > end:
            return f"Certificate {self.label}: expires on {end:%Y-%m-%d}."
        return ""


@dataclass(frozen=True, slots=True)
class PrivateKey:
    """An RSA key; `label` is its file, for messages."""

    label: str
    secret: rsa.RSAPrivateKey = field(repr=False)

    @property
    def public_key(self) -> rsa.RSAPublicKey:
        """What verifies its signatures."""
        return self.secret.public_key()


@dataclass(frozen=True, slots=True)
class SigningPair:
    """A key and the certificate that belongs to it."""

    key: PrivateKey
    certificate: Certificate


def signing_pair(key: PrivateKey, certificate: Certificate) -> SigningPair:
    """Return a key with its certificate. Raises BundleError (certificate-key) for another's."""
    if key.public_key != certificate.public_key:
        raise BundleError(
            "certificate-key",
            f"Certificate {certificate.label}: is of another key than {key.label}; the two that "
            "were made together are needed.",
        )
    return SigningPair(key, certificate)


def read_private_key(path: Path) -> PrivateKey:
    """Read an RSA key in PEM. Raises BadInputError for what is none, or has a password."""
    content = _read(path, "Key")
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError:
        raise BadInputError(
            f"Key {path}: is protected by a password; one without is needed.",
            hint=f"openssl rsa -in {path} -out FILE writes it without.",
        ) from None
    except Exception:  # of many kinds, by the library's version
        raise BadInputError(f"Key {path}: is no private key in PEM.") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise BadInputError(f"Key {path}: is no RSA key, the one kind that bundles know.")
    return PrivateKey(str(path), key)


def read_certificate(path: Path) -> Certificate:
    """Read an X.509 certificate in PEM. Raises BadInputError for what is none of an RSA key."""
    content = _read(path, "Certificate")
    try:
        return certificate_from_pem(content, label=str(path))
    except ValueError as error:
        raise BadInputError(f"Certificate {path}: {error}.") from None


def certificate_from_pem(content: bytes, *, label: str) -> Certificate:
    """Return a certificate out of PEM. Raises ValueError with what it is instead."""
    try:
        found = x509.load_pem_x509_certificate(content)
        public_key = found.public_key()
    except Exception:  # of many kinds, by the library's version
        raise ValueError("is no X.509 certificate in PEM") from None
    if not isinstance(public_key, rsa.RSAPublicKey):
        raise ValueError("is of no RSA key, the one kind that bundles know")
    return Certificate(label, found, public_key)


def _read(path: Path, what: str) -> bytes:
    content = read_small(what, path, most_bytes=_LARGEST_FILE_BYTES + 1)
    if len(content) > _LARGEST_FILE_BYTES:
        raise BadInputError(f"{what} {path}: is larger than 64 KiB, as no key is.")
    return content


@dataclass(frozen=True, slots=True)
class MadePair:
    """A new key and its certificate in PEM; the key is a secret."""

    key_pem: bytes
    certificate_pem: bytes


def make_signing_pair(*, common_name: str, bits: int, days: int, now: datetime) -> MadePair:
    """Make an RSA key and a certificate signed by itself with SHA-256, as the guide's openssl does.

    Its time begins a minute before `now`, for clocks that differ.
    """
    key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    begin = now.astimezone(UTC).replace(microsecond=0) - timedelta(minutes=1)
    identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(identity, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    return MadePair(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate.public_bytes(serialization.Encoding.PEM),
    )
