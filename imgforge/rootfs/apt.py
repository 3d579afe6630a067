"""apt, in a room of its own: which packages a recipe stands for, and their files.

Neither the host's sources, pins nor package state count here, and nothing needs root; only the
host's proxy settings are kept.
"""

import email.utils
import hashlib
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC
from pathlib import Path
from urllib.parse import unquote

from imgforge.command import Completed, Setting, run
from imgforge.errors import BadInputError, HostError
from imgforge.files import appearing, scratch_folder
from imgforge.rootfs.lock import Lock, LockBase, LockedPackage, make_lock
from imgforge.rootfs.mirror import list_archives, list_mirrors, split_uri

_LOG = logging.getLogger("imgforge")
_KEYRINGS = (
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
    Path("/usr/share/keyrings/ubuntu-archive-keyring.gpg"),
)
_SNAPSHOT = "http://snapshot.debian.org/archive"
_HELPER = "/usr/lib/apt/apt-helper"
_UPDATE_LIMIT_S = 600.0
_DOWNLOAD_LIMIT_S = 3600.0
_CONFIG_LIMIT_S = 60.0
_ANY_EXIT_CODE = range(-64, 256)


@dataclass(frozen=True, slots=True)
class AptRoom:
    """A folder with a state of apt's, and what stands in its sources list."""

    folder: Path
    archives: tuple[str, ...]

    @property
    def sources(self) -> Path:
        """Where packages come from: sources.list(5)."""
        return self.folder / "sources.list"

    def options(self) -> dict[str, str]:
        """Return what keeps apt inside this room (apt.conf(5))."""
        return {
            "Dir::State": f"{self.folder}",
            "Dir::State::lists": f"{self.folder}/lists",
            "Dir::State::status": f"{self.folder}/status",
            "Dir::Cache": f"{self.folder}",
            "Dir::Cache::archives": f"{self.folder}/archives",
            "Dir::Etc::sourcelist": f"{self.sources}",
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "/dev/null",
            "APT::Architecture": "amd64",
            "APT::Architectures::": "amd64",
            "APT::Sandbox::User": "root",
            "APT::Install-Recommends": "false",
            "APT::Install-Suggests": "false",
            "APT::Update::Error-Mode": "any",
            "Acquire::Languages": "none",
            "Acquire::Retries": "2",
            "Acquire::http::Timeout": "30",
            "Acquire::https::Timeout": "30",
        }


class PackagesGoneError(HostError):
    """Locked packages cannot be had any more, of any mirror."""


def open_room(folder: Path, base: LockBase) -> AptRoom:
    """Make `folder` a room for `base`; what apt fetched there before is kept."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    mirrors = list_mirrors(base)
    room = AptRoom(folder, tuple(list_archives(mirrors)))
    signed = ",".join(str(keyring) for keyring in _KEYRINGS if keyring.exists())
    options = f"arch={base.architecture}" + (f" signed-by={signed}" if signed else "")
    room.sources.write_text("".join(f"{mirror.line(options)}\n" for mirror in mirrors))
    isolated = ['Dir::Etc::main "/dev/null";', 'Dir::Etc::parts "/dev/null";']
    lines = [f'{name} "{value}";' for name, value in room.options().items()]
    (folder / "apt.conf").write_text("\n".join([*isolated, *_host_proxies(), *lines]) + "\n")
    return room


def resolve(room: AptRoom, base: LockBase) -> Lock:
    """Ask the mirrors which packages `base` stands for today.

    Raises BadInputError for a package or suite that is not there, or packages that exclude one
    another; HostError where a mirror cannot be reached.
    """
    update = _apt(room, "apt-get", ["update", "-q"], timeout_s=_UPDATE_LIMIT_S)
    if update.exit_code:
        raise explain_update(base, room.archives, _complaints(update))
    wanted = [*base.include]
    if base.variant == "minbase":
        wanted = ["?essential", "?priority(required)", "apt", *wanted]
    if not wanted:
        return make_lock(base, packages=(), snapshot=_newest_release(room))
    solved = _apt(room, "apt-get", ["install", "--yes", "--print-uris", "-q", *wanted])
    if solved.exit_code:
        raise _explain_install(base, _complaints(solved))
    uris = dict(_parse_uris(solved.stdout.decode(errors="replace")))
    named = [f"{name}:{arch}={version}" for name, version, arch in uris]
    shown = _apt(room, "apt-cache", ["show", "--", *named])
    known = _parse_stanzas(shown.stdout.decode(errors="replace"))
    packages = []
    for key, uri in uris.items():
        if key not in known:
            raise HostError(f"apt: no SHA-256 is known of {key[0]} {key[1]} ({key[2]}).")
        sha256, size_bytes = known[key]
        archive, path = split_uri(uri, room.archives)
        packages.append(
            LockedPackage(
                name=key[0],
                version=key[1],
                architecture=key[2],
                sha256=sha256,
                size_bytes=size_bytes,
                archive=archive,
                path=path,
            )
        )
    return make_lock(base, packages=packages, snapshot=_newest_release(room))


def fetch(room: AptRoom, lock: Lock, *, store: Path) -> list[Path]:
    """Return the locked packages' files in `store`, in the lock's order, fetching what is missing.

    What the mirrors no longer hold is looked for in Debian's snapshot archive. Raises
    PackagesGoneError naming every package that cannot be had, and one whose SHA-256 is another.
    """
    missing = [package for package in lock.packages if not _stored(store, package).exists()]
    if missing:
        size_mb = sum(package.size_bytes for package in missing) / 1e6
        _LOG.info("packages: fetching %d files, %.1f MB", len(missing), size_mb)
        store.mkdir(parents=True, exist_ok=True)
        with scratch_folder(store) as scratch:
            reasons = _download(room, {item: _uri(room, item) for item in missing}, scratch, store)
            elsewhere = {item: _snapshot_uri(room, lock, item) for item in reasons}
            reachable = {item: uri for item, uri in elsewhere.items() if uri}
            if reachable:
                names = ", ".join(item.release for item in reachable)
                _LOG.info("packages: not on the mirrors: %s; trying snapshot.debian.org", names)
                late = _download(room, reachable, scratch, store)
                reasons = {
                    item: f"{reason}; snapshot archive: {late[item]}" if item in late else reason
                    for item, reason in reasons.items()
                    if item in late or item not in reachable
                }
        if reasons:
            raise _explain_missing(reasons)
    return [_stored(store, package) for package in lock.packages]


def is_stored(lock: Lock, store: Path) -> bool:
    """Tell whether `store` holds every package of `lock`."""
    return all(_stored(store, package).exists() for package in lock.packages)


def missing_bytes(lock: Lock, store: Path) -> int:
    """Return the bytes of the packages of `lock` that `store` does not hold."""
    return sum(
        package.size_bytes for package in lock.packages if not _stored(store, package).exists()
    )


def _stored(store: Path, package: LockedPackage) -> Path:
    return store / f"{package.sha256}.deb"


def _download(
    room: AptRoom, uris: Mapping[LockedPackage, str], scratch: Path, store: Path
) -> dict[LockedPackage, str]:
    """Fetch each URI into `store`; return why, of those that could not be had."""
    arguments: list[str] = ["download-file"]
    for package, uri in uris.items():
        # "file:" would only name the file; "copy:" copies it.
        source = re.sub(r"^file:", "copy:", uri)
        arguments += [source, str(scratch / package.sha256), f"SHA256:{package.sha256}"]
    ended = _apt(room, _HELPER, arguments, timeout_s=_DOWNLOAD_LIMIT_S)
    said = _complaints(ended)
    reasons = {}
    for package in uris:
        fetched = scratch / package.sha256
        if not fetched.exists():
            reasons[package] = _reason_for(package, said)
            continue
        with fetched.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != package.sha256:
            reasons[package] = f"its SHA-256 is {found}, not {package.sha256}"
        else:
            with appearing(_stored(store, package)) as new:
                fetched.rename(new)
    return reasons


def _uri(room: AptRoom, package: LockedPackage) -> str:
    """Return where a locked package's file stood when it was locked."""
    if package.archive >= len(room.archives):
        raise BadInputError(
            f"Lock: {package.release} is on mirror {package.archive}, of {len(room.archives)}.",
            hint="Remove the lock and build without --locked to make a new one.",
        )
    return f"{room.archives[package.archive]}/{package.path}"


def _snapshot_uri(room: AptRoom, lock: Lock, package: LockedPackage) -> str:
    """Return where snapshot.debian.org keeps a file of Debian's pool, or nothing for others."""
    archive = room.archives[package.archive]
    if not package.path.startswith("pool/") or not lock.snapshot:
        return ""
    if archive.startswith(("file:", "copy:")):
        return ""
    kept = "debian-security" if "security" in archive else "debian"
    return f"{_SNAPSHOT}/{kept}/{lock.snapshot}/{package.path}"


def _apt(
    room: AptRoom, program: str, arguments: Iterable[str], *, timeout_s: float = 120.0
) -> Completed:
    return run(
        program,
        list(arguments),
        setting=Setting(environment={"APT_CONFIG": str(room.folder / "apt.conf")}),
        timeout_s=timeout_s,
        accepted_exit_codes=_ANY_EXIT_CODE,
    )


def _host_proxies() -> list[str]:
    dump = run(
        "apt-config", ["dump"], timeout_s=_CONFIG_LIMIT_S, accepted_exit_codes=_ANY_EXIT_CODE
    ).stdout.decode(errors="replace")
    kept = re.compile(r'^Acquire::https?::(?!User-Agent)[^ ]* "[^"]+";$')
    return [line for line in dump.splitlines() if kept.match(line)]


def _parse_uris(text: str) -> Iterable[tuple[tuple[str, str, str], str]]:
    """Give ((name, version, architecture), URI) of each line `apt-get --print-uris` prints."""
    for match in re.finditer(r"^'([^']+)' (\S+)_(\S+)_(\S+)\.deb \d+ ", text, re.MULTILINE):
        yield (match[2], unquote(match[3]), match[4]), match[1]


def _parse_stanzas(text: str) -> dict[tuple[str, str, str], tuple[str, int]]:
    """Return SHA-256 and size by (name, version, architecture) from Packages stanzas."""
    known: dict[tuple[str, str, str], tuple[str, int]] = {}
    for stanza in text.split("\n\n"):
        fields = dict(re.findall(r"^([A-Za-z0-9-]+): (.*)$", stanza, re.MULTILINE))
        if "SHA256" in fields:
            key = (fields["Package"], fields["Version"], fields["Architecture"])
            known.setdefault(key, (fields["SHA256"], int(fields["Size"])))
    return known


def _newest_release(room: AptRoom) -> str:
    """Return the newest Date among the Release files as snapshot.debian.org writes times."""
    dates = []
    for release in sorted((room.folder / "lists").glob("*Release")):
        match = re.search(r"^Date: (.+)$", release.read_text(errors="replace"), re.MULTILINE)
        if match:
            try:
                dates.append(email.utils.parsedate_to_datetime(match[1]).astimezone(UTC))
            except ValueError:
                continue
    return max(dates).strftime("%Y%m%dT%H%M%SZ") if dates else ""


def _complaints(completed: Completed) -> list[str]:
    lines = completed.stderr.decode(errors="replace").splitlines()
    return [line for line in lines if line.startswith(("E:", "W:", " "))] or lines[-5:]


def explain_update(
    base: LockBase, archives: Sequence[str], said: Sequence[str]
) -> HostError | BadInputError:
    """Return the error for what `apt-get update` said: the recipe's fault or the mirrors'.

    A mirror that answers, but not with the suite, is the recipe's; of one that refuses or cannot
    be reached apt says "Failed to fetch".
    """
    text = "\n".join("  " + line.strip() for line in said)
    where = ", ".join(archives)
    lacking = "does not have a Release file" in text and "Failed to fetch" not in text
    if lacking or re.search(r"\b404\b|File not found", text):
        return BadInputError(
            f"Suite {base.suite}: not on the mirrors ({where}); apt says:\n{text}",
            hint="Check rootfs.source.suite and rootfs.source.mirrors.",
        )
    hint = "Is the network up, and a proxy needed (http_proxy)?"
    if "NO_PUBKEY" in text or "not signed" in text:
        hint = "Install the mirror's keys: the package debian-archive-keyring holds Debian's."
    return HostError(f"The mirrors of {base.suite} ({where}) cannot be used:\n{text}", hint=hint)


def _explain_install(base: LockBase, said: list[str]) -> BadInputError:
    text = "\n".join(said)
    names = re.findall(r"Unable to locate package (\S+)", text)
    names += re.findall(r"Package '([^']+)' has no installation candidate", text)
    if names:
        return BadInputError(
            f"Package {', '.join(names)}: not in {base.suite} ({' '.join(base.components)}).",
            hint="Check rootfs.source.include; apt-cache search finds names.",
        )
    return BadInputError(f"The packages of {base.suite} do not go together; apt says:\n{text}")


def _explain_missing(reasons: Mapping[LockedPackage, str]) -> PackagesGoneError:
    lines = [f"  {item.release} ({item.architecture}): {why}" for item, why in reasons.items()]
    return PackagesGoneError(
        f"{len(lines)} locked packages cannot be had any more:\n" + "\n".join(lines),
        hint="Build without --locked to go on with what the mirrors hold now.",
    )


def _reason_for(package: LockedPackage, said: list[str]) -> str:
    name = package.path.rpartition("/")[2]
    about = [line for line in said if name in line or unquote(name) in line] or said
    return about[-1].removeprefix("E: ").strip() if about else "apt gave no reason"
