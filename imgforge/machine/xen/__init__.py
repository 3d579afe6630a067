"""A genuine PV guest: Xen and its dom0 in QEMU, started without a privilege."""
