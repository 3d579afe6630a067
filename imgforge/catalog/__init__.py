"""Images, snapshots and volumes: their records and where they are kept."""
