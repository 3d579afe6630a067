"""The minimal guest, broken in every way that the tests want, by a word on its command line."""

from pathlib import Path

_HEAD = """#!/bin/busybox sh
# What busybox's init runs first: whatever imgforge.wrong= on the command line names.
/bin/busybox mount -t proc proc /proc
wrong=nothing
for word in $(/bin/busybox cat /proc/cmdline); do
    case $word in imgforge.wrong=*) wrong=${word#*=} ;; esac
done
echo "imgforge-init: going wrong: $wrong"
"""
_PANIC = "echo c >/proc/sysrq-trigger"
_HANG = "while :; do /bin/busybox sleep 100; done"
_REBOOT = "/bin/busybox reboot -f"
_FILL = """/bin/busybox mount -o remount,rw /
/bin/busybox dd if=/dev/urandom of=/fill bs=64k count=100
/bin/busybox sync"""
_CLEAN = "/bin/busybox umount /proc\n"
# Clears the screen, sets the title, moves, colours, and is no UTF-8.
FLOOD_LINE = b"\x1b[2J\x1b]0;owned\x07\x1b[1;1H\x1b[31m\xff\xfeflood " + b"x" * 63 + b"\n"
FLOOD_BYTES = 1_500_000
DROWN_BYTES = 100_000_000
_PRINTF = "".join(f"\\{byte:03o}" if byte < 32 or byte > 126 else chr(byte) for byte in FLOOD_LINE)
_FLOOD = f"""line=$(/bin/busybox printf '{_PRINTF}')
/bin/busybox yes "$line" | /bin/busybox head -c {{count}} >/dev/console
echo; echo "imgforge-init: the flood is over"
"""
_OTHER_KEY = """    dropbearkey -t ed25519 -f /run/other >/dev/null 2>&1
    dropbearkey -y -f /run/other | grep '^ssh-' >/root/.ssh/authorized_keys
"""
_FAKE_KEYS = """    dropbearkey -t ed25519 -f /run/other >/dev/null 2>&1
    dropbearkey -y -f /run/other >/run/ed25519.pub 2>/dev/null
    dropbearkey -t ecdsa -f /run/another >/dev/null 2>&1
    dropbearkey -y -f /run/another >/run/ecdsa.pub 2>/dev/null
"""


def write_overlay(folder: Path, *, guest: Path) -> None:
    """Write the overlay; the guest's own start is what each one that goes on comes to."""
    start = (guest / "overlays/minimal/usr/lib/imgforge/start").read_text(encoding="utf-8")
    programs = folder / "usr/lib/imgforge"
    programs.mkdir(parents=True)
    scripts = {
        "start": _HEAD + 'exec "/usr/lib/imgforge/wrong-$wrong"\n',
        "exits": "#!/bin/busybox sh\necho 'imgforge-init: leaving'\nexit 3\n",
        "wrong-nothing": _whole("", start),
        "wrong-panic": _whole(_PANIC, start),
        "wrong-hang": _whole(_HANG, start),
        "wrong-reboot": _whole(_REBOOT, start),
        "wrong-fill": _whole(_FILL, start),
        "wrong-flood": _whole(_FLOOD.format(count=FLOOD_BYTES), start),
        "wrong-drown": _whole(_FLOOD.format(count=DROWN_BYTES), start),
        "wrong-no-metadata": _whole(
            "", _replace(start, "bring_up_network && fetch_key", "bring_up_network")
        ),
        "wrong-other-key": _whole(
            "", _replace(start, '    say "key fetched"\n', _OTHER_KEY + '    say "key fetched"\n')
        ),
        "wrong-host-keys": _whole(
            "", _replace(start, "print_host_keys() {\n", "print_host_keys() {\n" + _FAKE_KEYS)
        ),
    }
    for name, text in scripts.items():
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    (folder / "boot").mkdir()
    (folder / "boot/no-kernel").write_bytes(b"no kernel\n" * 10_000)


def _whole(first: str, start: str) -> str:
    return "#!/bin/busybox sh\n" + first + "\n" + _CLEAN + start


def _replace(text: str, old: str, new: str) -> str:
    assert old in text
    return text.replace(old, new)
