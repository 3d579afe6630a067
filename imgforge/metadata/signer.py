"""The key that instance identity documents are signed with."""

import base64
import textwrap
from datetime import UTC, datetime, timedelta
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from cryptography.x509.oid import NameOID

_LINE_CHARACTERS = 64
_KEY_BITS = 2048
_VALID = timedelta(days=30 * 365)
_CLOCKS_DIFFER = timedelta(days=1)


class Signer:
    """Signs as EC2 does: its certificate is not in what it signs, the verifier has it.

    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/verify-iid.html
    EC2 makes `pkcs7` with a DSA key; here both forms are RSA's with 2048 bits and SHA-256.
    """

    def __init__(self, key: rsa.RSAPrivateKey, certificate: x509.Certificate) -> None:
        self._key = key
        self._certificate = certificate

    @classmethod
    def generate(cls) -> Self:
        """Return a new one, whose certificate is signed by itself; takes some 0.1 s."""
        key = rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS)
        name = x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "imgforge"),
                x509.NameAttribute(NameOID.COMMON_NAME, "instance identity documents"),
            ]
        )
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _CLOCKS_DIFFER)
            .not_valid_after(now + _VALID)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        return cls(key, certificate)

    @classmethod
    def from_pem(cls, key: bytes, certificate: bytes) -> Self:
        """Return the one of a key and its certificate. Raises ValueError for what is neither."""
        loaded = serialization.load_pem_private_key(key, password=None)
        if not isinstance(loaded, rsa.RSAPrivateKey):
            raise ValueError("the key is none of RSA")
        found = x509.load_pem_x509_certificate(certificate)
        if found.public_key() != loaded.public_key():
            raise ValueError("the certificate is another key's")
        return cls(loaded, found)

    @property
    def key_pem(self) -> bytes:
        """The private key: a secret of whoever runs imgforge."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def certificate_pem(self) -> bytes:
        """What a verifier needs."""
        return self._certificate.public_bytes(serialization.Encoding.PEM)

    def sign(self, document: str) -> str:
        """Return the RSA signature (PKCS #1 v1.5, SHA-256) of a text, in base64."""
        return _lines(self._key.sign(document.encode(), padding.PKCS1v15(), hashes.SHA256()))

    def sign_pkcs7(self, document: str) -> str:
        """Return a text and its signature as PKCS #7, in base64 without PEM's first and last line.

        The text comes along (RFC 2315, not detached), the certificate does not.
        """
        options = (
            pkcs7.PKCS7Options.Binary,
            pkcs7.PKCS7Options.NoCapabilities,
            pkcs7.PKCS7Options.NoCerts,
        )
        builder = pkcs7.PKCS7SignatureBuilder().set_data(document.encode())
        builder = builder.add_signer(self._certificate, self._key, hashes.SHA256())
        return _lines(builder.sign(serialization.Encoding.DER, options))


def _lines(content: bytes) -> str:
    return "\n".join(textwrap.wrap(base64.b64encode(content).decode(), _LINE_CHARACTERS))
