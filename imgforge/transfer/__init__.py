"""Bundles on their way to S3 and back: what is there and right is never sent or fetched again."""

from imgforge.transfer.download import Downloaded, download_bundle, fetch_manifest, find_manifest
from imgforge.transfer.place import BundlePlace, split_manifest_url
from imgforge.transfer.remove import Clearing, Deletion, delete_bundle, plan_deletion
from imgforge.transfer.upload import ManifestWish, Uploaded, UploadWish, upload_bundle

__all__ = [
    "BundlePlace",
    "Clearing",
    "Deletion",
    "Downloaded",
    "ManifestWish",
    "UploadWish",
    "Uploaded",
    "delete_bundle",
    "download_bundle",
    "fetch_manifest",
    "find_manifest",
    "plan_deletion",
    "split_manifest_url",
    "upload_bundle",
]
