"""EC2's and EBS direct's actions: what each does with the catalog's records."""

from imgforge.catalog.actions.action import ACTIONS, Action

from imgforge.catalog.actions import (  # isort: skip (they fill the table)
    account_settings as account_settings,
    direct_blocks as direct_blocks,
    direct_lists as direct_lists,
    direct_snapshots as direct_snapshots,
    image_attributes as image_attributes,
    image_copy as image_copy,
    image_search as image_search,
    image_state as image_state,
    images as images,
    instance_images as instance_images,
    imports as imports,
    recycle_bin as recycle_bin,
    recycle_rules as recycle_rules,
    regions as regions,
    snapshot_attributes as snapshot_attributes,
    snapshots as snapshots,
    tags as tags,
    volume_changes as volume_changes,
    volumes as volumes,
)

__all__ = ["ACTIONS", "Action"]
