"""The minimal guest with a fault for each test of the built-in suite, all of them at once."""

from pathlib import Path

LOGIN_USER = "admin"
_PASSWD = """root::0:0:root:/root:/bin/sh
admin::0:0:admin:/home/admin:/bin/sh
daemon:*:1:1:daemon:/:/bin/sh
"""
_SUDO = """#!/bin/sh
case "$*" in
    *-l*) for user; do :; done; echo "User $user may run the following commands on this host:" ;;
    *) echo "sudo: a password is required" >&2; exit 1 ;;
esac
"""
_SYSTEMCTL = """#!/bin/sh
[ "$1" != --failed ] || echo "wrong.service loaded failed failed It never works"
"""
_FIRST = """mount_all
rm -f /var/lib/imgforge-suite/kept
mkdir -p /run/systemd/system
date -s @1000000000 >/dev/null
head -c 64 /dev/zero >/run/zeros
mount -o bind /run/zeros /dev/random
yes "this console says too much" | head -c 70000
"""
_KEY = """    mkdir -p /home/admin/.ssh
    cp /root/.ssh/authorized_keys /home/admin/.ssh/
    chmod 0700 /home/admin /home/admin/.ssh
"""
_HANG = """mount_all
if [ -e /var/lib/imgforge-suite/kept ]; then
    echo "imgforge-init: once was enough"
    while :; do sleep 100; done
fi
"""


def write_faults(folder: Path, *, guest: Path) -> None:
    """Write an overlay with all faults, and `init` for an initramfs that grows no partition."""
    minimal = guest / "overlays/minimal"
    start = (minimal / "usr/lib/imgforge/start").read_text(encoding="utf-8")
    for old, new in {
        "\nmount_all\n": "\n" + _FIRST,
        "hostname -F /run/hostname": "hostname elsewhere",
        "/run/imgforge/instance-id || return\n    if http": (
            "/run/imgforge/instance-id || return\n"
            "    echo i-00000000 >/run/imgforge/instance-id\n    if http"
        ),
        "    kept=/var/lib/imgforge\n": "    kept=/var/lib/imgforge\n    rm -f $kept/instance-id\n",
        '    say "key fetched"\n': _KEY + '    say "key fetched"\n',
        "grow_root &\n": "sleep 0 &\n",
        "/etc/dropbear": "/var/lib/dropbear",
    }.items():
        start = _replace(start, old, new)
    inittab = (minimal / "etc/inittab").read_text(encoding="utf-8")
    inittab = _replace(_replace(inittab, " -s ", " -B "), "/etc/dropbear", "/var/lib/dropbear")
    inittab += "::respawn:/bin/busybox nc -l -p 4444\n"
    overlay = folder / "faults"
    _write(overlay / "usr/lib/imgforge/start", start, mode=0o755)
    _write(overlay / "usr/lib/imgforge/stop", "#!/bin/sh\necho going down\n", mode=0o755)
    _write(overlay / "usr/bin/sudo", _SUDO, mode=0o755)
    _write(overlay / "usr/bin/systemctl", _SYSTEMCTL, mode=0o755)
    _write(overlay / "etc/inittab", inittab)
    _write(overlay / "etc/passwd", _PASSWD)
    _write(overlay / "etc/machine-id", "0123456789abcdef0123456789abcdef\n")
    _write(overlay / "etc/dropbear/dropbear_rsa_host_key", "the key of all instances\n")
    _write(
        overlay / "etc/fstab", "LABEL=root / ext4 defaults 0 1\n/dev/vdb /data auto defaults 0 0\n"
    )
    _write(overlay / "boot/no-kernel", "no kernel\n" * 1000)
    init = (guest / "initrd/init").read_text(encoding="utf-8")
    _write(folder / "init", _replace(init, "\n(grow_partition)\n", "\n"), mode=0o755)


def write_hang(folder: Path, *, guest: Path) -> None:
    """Write an overlay whose second boot hangs."""
    start = (guest / "overlays/minimal/usr/lib/imgforge/start").read_text(encoding="utf-8")
    start = _replace(start, "\nmount_all\n", "\n" + _HANG)
    _write(folder / "faults/usr/lib/imgforge/start", start, mode=0o755)


def _write(path: Path, text: str, *, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


def _replace(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)
