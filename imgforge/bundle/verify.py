"""Everything that can be checked of a bundle, and which of it fails."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imgforge.bundle.check import Check, Outcome, Verification
from imgforge.bundle.extract import load_manifest
from imgforge.bundle.keys import Certificate, PrivateKey, signing_pair
from imgforge.bundle.machine_rules import machine_problems
from imgforge.bundle.manifest import BundledImage, Manifest
from imgforge.bundle.manifest_reader import ManifestFile
from imgforge.bundle.names import is_part_of
from imgforge.bundle.parts import check_part, check_sizes
from imgforge.bundle.passing import Passing
from imgforge.bundle.problem import BundleError
from imgforge.bundle.secret import Reader, Secret, SignatureForm, open_secret, verify_signature
from imgforge.bundle.unpack import Packed, unpack
from imgforge.progress import report

_MANY = 20


@dataclass(frozen=True, slots=True)
class KeyRing:
    """What a bundle is checked with; what is missing leaves something unchecked."""

    certificate: Certificate | None = None
    key: PrivateKey | None = None
    ec2_key: PrivateKey | None = None
    account: str = ""


def verify_bundle(path: Path, *, folder: Path, keys: KeyRing) -> Verification:
    """Check the bundle of the manifest `path`, whose parts are in `folder`.

    The ids: manifest and, where it cannot be read, manifest-… of `read_manifest`; machine, which
    is what EC2 takes of architecture, ids, product codes, virtual and real devices (the original
    takes them unseen); certificate-key, certificate-time, signature, account, part-missing,
    part-file, parts-size, part-digest, parts-extra, key, ec2-key, digest, tar-name (a warning), and
    cipher, gzip or tar where the parts hold no image. Raises BadInputError where the manifest
    cannot be opened.
    """
    report(f"verify: {path.name}")
    try:
        file = load_manifest(path)
    except BundleError as error:
        return Verification((_failed(error),))
    manifest = file.manifest
    count = len(manifest.image.parts)
    made = [_ok("manifest", f"version {manifest.version}, {count} parts, each with its name")]
    made += _check_machine(manifest)
    made += _check_certificate(keys)
    made += _check_signature(file, keys)
    made += _check_account(manifest.image, keys)
    parts = list(_check_parts(folder, manifest.image))
    made += parts
    made += _check_content(folder, manifest.image, keys, are_parts_good=all(map(_is_fine, parts)))
    return Verification(tuple(made))


def _check_machine(manifest: Manifest) -> Iterator[Check]:
    if manifest.machine is None:  # as version 3 has it
        yield _unchecked("machine", f"version {manifest.version} says nothing of it")
        return
    problems = list(machine_problems(manifest.machine))
    for problem in problems[:_MANY]:
        yield Check("machine", Outcome.FAILED, f"EC2 would not take {problem}")
    if not problems:
        yield _ok("machine", manifest.machine.architecture)


def _check_certificate(keys: KeyRing) -> Iterator[Check]:
    if keys.certificate is None:
        yield _unchecked("certificate-key", "no certificate was given")
        return
    if keys.key is None:
        yield _unchecked("certificate-key", "no private key was given")
    else:
        try:
            signing_pair(keys.key, keys.certificate)
            yield _ok("certificate-key", "the certificate is the key's")
        except BundleError as error:
            yield _failed(error)
    # EC2 launches what a certificate signed that has expired since.
    if problem := keys.certificate.expiry_problem(datetime.now(UTC)):
        yield Check("certificate-time", Outcome.WARNING, problem)
    else:
        end = keys.certificate.x509.not_valid_after_utc
        yield _ok("certificate-time", f"the certificate is valid until {end:%Y-%m-%d}")


def _check_signature(file: ManifestFile, keys: KeyRing) -> Iterator[Check]:
    signer = keys.certificate or keys.key
    if signer is None:
        yield _unchecked("signature", "neither a certificate nor a private key was given")
        return
    match verify_signature(file, signer.public_key):
        case None:
            yield Check(
                "signature",
                Outcome.FAILED,
                f"it is not by {signer.label} over what stands in the manifest",
            )
        case SignatureForm.AS_IT_STANDS:
            yield _ok("signature", f"by {signer.label}, over the manifest as it stands")
        case SignatureForm.REQUOTED:
            yield _ok("signature", f"by {signer.label}, over the manifest with single quotes")


def _check_account(image: BundledImage, keys: KeyRing) -> Iterator[Check]:
    if not keys.account:
        yield _unchecked("account", f"none was given; the manifest says {image.account}")
    elif keys.account != image.account:
        words = f"the manifest says {image.account}, {keys.account} is needed"
        yield Check("account", Outcome.FAILED, words)
    else:
        yield _ok("account", image.account)


def _check_parts(folder: Path, image: BundledImage) -> Iterator[Check]:
    problems = list(check_sizes(folder, image))
    ids = {problem.check for problem in problems}
    yield from map(_failed, problems[:_MANY])
    if not ids:
        yield _ok("parts-size", f"{image.bundled_size_bytes} bytes")
    bad = 0
    passing = Passing("verify: parts", image.bundled_size_bytes)
    for part in image.parts:
        path = folder / part.filename
        if not path.is_file():
            continue
        passing.add(path.stat().st_size)
        try:
            check_part(folder, part)
        except BundleError as error:
            bad += 1
            if bad <= _MANY:
                yield _failed(error)
    if not bad and not ids & {"part-missing", "part-file"}:
        yield _ok("part-digest", f"each of {len(image.parts)} parts has its SHA-1")
    yield from _check_extra(folder, image)


def _check_extra(folder: Path, image: BundledImage) -> Iterator[Check]:
    known = {part.filename for part in image.parts}
    there = (path.name for path in folder.iterdir()) if folder.is_dir() else ()
    extra = sorted(name for name in there if is_part_of(name, image.name) and name not in known)
    if extra:
        words = f"the manifest does not name {', '.join(extra[:3])}"
        more = f" and {len(extra) - 3} more" if len(extra) > 3 else ""
        yield Check("parts-extra", Outcome.WARNING, words + more)


def _check_content(
    folder: Path, image: BundledImage, keys: KeyRing, *, are_parts_good: bool
) -> Iterator[Check]:
    secret: Secret | None = None
    for check, key, reader in (
        ("key", keys.key, Reader.USER),
        ("ec2-key", keys.ec2_key, Reader.EC2),
    ):
        if key is None:
            yield _unchecked(check, "it was not given")
            continue
        try:
            found = open_secret(image.key, key=key, reader=reader)
        except BundleError as error:
            yield Check(check, Outcome.FAILED, str(error))
            continue
        if secret is not None and found != secret:
            yield Check(check, Outcome.FAILED, "it opens another AES key than the user's does")
        else:
            yield _ok(check, "it opens the bundle")
        secret = secret or found
    if secret is None:
        yield _unchecked("digest", "without a private key nothing can be decrypted")
    elif not are_parts_good:
        yield _unchecked("digest", "the parts are not good")
    else:
        yield from _check_digest(Packed(folder, image, secret))


def _check_digest(packed: Packed) -> Iterator[Check]:
    try:
        name = unpack(packed, lambda _offset_bytes, _piece: None)
    except BundleError as error:
        yield _failed(error)
        return
    image = packed.image
    yield _ok("digest", f"one image of {image.size_bytes} bytes, SHA-1 {image.sha1}")
    if name != image.name:  # as euca-bundle-image --prefix makes them
        yield Check("tar-name", Outcome.WARNING, f"the tar calls it {name}, not {image.name}")


def _is_fine(check: Check) -> bool:
    return check.outcome is not Outcome.FAILED


def _ok(check: str, words: str) -> Check:
    return Check(check, Outcome.OK, words)


def _unchecked(check: str, words: str) -> Check:
    return Check(check, Outcome.UNCHECKED, words)


def _failed(error: BundleError) -> Check:
    return Check(error.check, Outcome.FAILED, str(error))
