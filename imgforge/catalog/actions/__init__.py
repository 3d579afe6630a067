"""EC2's and EBS direct's actions: what each does with the catalog's records."""

from imgforge.catalog.actions.action import ACTIONS, Action

from imgforge.catalog.actions import (  # isort: skip (they fill the table)
    direct as direct,
    image_attributes as image_attributes,
    image_copy as image_copy,
    image_search as image_search,
    image_state as image_state,
    images as images,
    regions as regions,
    snapshot_attributes as snapshot_attributes,
    snapshots as snapshots,
    tags as tags,
    volumes as volumes,
)

__all__ = ["ACTIONS", "Action"]
