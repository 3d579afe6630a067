"""What is mounted below a tree."""

from imgforge.volume import left_out_mounts, mount_of
from imgforge.volume.mounts import parse_mounts

LINES = """\
24 1 202:1 / / rw,relatime shared:1 - ext4 /dev/xvda1 rw,discard
25 24 0:20 / /proc rw - proc proc rw
26 24 0:21 / /sys rw - sysfs sysfs rw
27 24 0:5 / /dev rw - devtmpfs udev rw
28 24 0:25 / /run rw - tmpfs tmpfs rw
29 24 202:15 / /boot/efi rw - vfat /dev/xvda15 rw
30 24 202:32 / /home rw - ext4 /dev/xvdc rw
31 24 0:40 / /nfs rw - nfs4 server:/x rw
32 24 202:1 /var/www /srv/www rw - ext4 /dev/xvda1 rw
33 24 202:32 /me /data rw - ext4 /dev/xvdc rw
34 24 7:1 / /snap/x rw - squashfs /dev/loop1 ro
35 24 202:48 / /with\\040space\\134 rw - xfs /dev/xvdd rw
36 24 0:50 / /homely rw - fuse.sshfs me@x:/ rw
garbage
37 24 bad / /odd
""".splitlines()


def test_only_disks_are_taken_in_and_each_once() -> None:
    mounts = parse_mounts(LINES)
    assert left_out_mounts("/", mounts, all_of_them=False) == {
        "proc": "proc",
        "sys": "sysfs",
        "dev": "devtmpfs",
        "run": "tmpfs",
        "boot/efi": "vfat",
        "nfs": "nfs4",
        "srv/www": "bind",
        "data": "bind",
        "snap/x": "squashfs",
        "homely": "fuse.sshfs",
    }


def test_all_takes_in_what_is_no_memory_of_the_kernels() -> None:
    left_out = left_out_mounts("/", parse_mounts(LINES), all_of_them=True)
    assert set(left_out) == {"proc", "sys", "dev", "run", "srv/www", "data"}


def test_mounts_beside_a_tree_are_no_matter() -> None:
    mounts = parse_mounts(LINES)
    assert left_out_mounts("/home", mounts, all_of_them=False) == {}
    assert left_out_mounts("/boot", mounts, all_of_them=False) == {"efi": "vfat"}
    found = mount_of("/with space\\", mounts)
    assert found is not None
    assert (found.kind, found.device, found.source) == ("xfs", (202, 48), "/dev/xvdd")
    assert mount_of("/odd", mounts) is None


def test_a_later_mount_hides_the_one_below_it() -> None:
    lines = [*LINES, "40 24 202:64 / /nfs rw - ext4 /dev/xvde rw"]
    assert "nfs" not in left_out_mounts("/", parse_mounts(lines), all_of_them=False)


def test_subvolumes_of_one_btrfs_are_no_copies() -> None:
    lines = [
        "24 1 0:30 /@ / rw - btrfs /dev/sda2 rw",
        "25 24 0:30 /@home /home rw - btrfs /dev/sda2 rw",
    ]
    assert left_out_mounts("/", parse_mounts(lines), all_of_them=False) == {}


def test_what_is_shown_a_second_time_stays_where_the_first_is_left_out() -> None:
    lines = [
        "24 1 202:1 / / rw - ext4 /dev/xvda1 rw",
        "25 24 202:32 / /mnt/data rw - ext4 /dev/xvdb rw",
        "26 24 202:32 /www /srv/www rw - ext4 /dev/xvdb rw",
        "27 24 202:32 /www /srv/www2 rw - ext4 /dev/xvdb rw",
        "28 24 0:40 / /nfs rw - nfs4 server:/x rw",
        "29 28 202:48 / /nfs/disk rw - ext4 /dev/xvdc rw",
        "30 24 202:48 /a /a rw - ext4 /dev/xvdc rw",
    ]
    found = left_out_mounts("/", parse_mounts(lines), all_of_them=False, unseen=["mnt", "x"])
    assert found == {"srv/www2": "bind", "nfs": "nfs4"}
    found = left_out_mounts("/", parse_mounts(lines), all_of_them=False, unseen=["mnt/da"])
    assert found == {"srv/www": "bind", "srv/www2": "bind", "nfs": "nfs4"}
