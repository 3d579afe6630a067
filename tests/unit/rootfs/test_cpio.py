from imgforge.rootfs.cpio import CpioEntry, file, folder, symlink, write_cpio


def test_a_record_has_the_fields_of_newc() -> None:
    archive = write_cpio([file("init", b"#!/bin/sh\n", mode=0o755)], mtime_s=255)
    fields = [int(archive[6 + 8 * number : 14 + 8 * number], 16) for number in range(13)]
    assert archive[:6] == b"070701"
    assert fields == [1, 0o100755, 0, 0, 1, 255, 10, 0, 0, 0, 0, 5, 0]
    assert archive[110:115] == b"init\0"
    assert archive[116:126] == b"#!/bin/sh\n"


def test_an_archive_ends_with_its_trailer_on_a_whole_sector() -> None:
    archive = write_cpio([folder("bin"), symlink("bin/sh", "busybox")], mtime_s=0)
    assert b"TRAILER!!!\0" in archive
    assert len(archive) % 512 == 0


def test_a_device_keeps_its_numbers() -> None:
    archive = write_cpio([CpioEntry("dev/console", 0o20600, device=(5, 1))], mtime_s=0)
    assert int(archive[78:86], 16) == 5
    assert int(archive[86:94], 16) == 1
