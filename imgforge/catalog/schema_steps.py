"""The steps from an empty database to the catalog's, in SQL.

They are only ever added to: a database knows by its user_version which it has taken.
"""

from collections.abc import Sequence

_SNAPSHOTS = """
CREATE TABLE snapshots (
  snapshot_id TEXT NOT NULL PRIMARY KEY CHECK (snapshot_id LIKE 'snap-%'),
  owner_id TEXT NOT NULL CHECK (length(owner_id) = 12),
  volume_size_gib INTEGER NOT NULL CHECK (volume_size_gib BETWEEN 1 AND 65536),
  state TEXT NOT NULL CHECK (state IN ('pending', 'completed', 'error')),
  start_time TEXT NOT NULL,
  description TEXT NOT NULL,
  encrypted INTEGER NOT NULL CHECK (encrypted IN (0, 1)),
  blob_sha256 TEXT NOT NULL CHECK (length(blob_sha256) = 64),
  blob_size_bytes INTEGER NOT NULL CHECK (blob_size_bytes > 0)
) STRICT
"""

_IMAGES = """
CREATE TABLE images (
  image_id TEXT NOT NULL PRIMARY KEY CHECK (image_id LIKE 'ami-%'),
  owner_id TEXT NOT NULL CHECK (length(owner_id) = 12),
  name TEXT NOT NULL CHECK (length(name) BETWEEN 3 AND 128),
  description TEXT NOT NULL CHECK (length(description) <= 255),
  architecture TEXT NOT NULL,
  virtualization_type TEXT NOT NULL CHECK (virtualization_type IN ('hvm', 'paravirtual')),
  boot_mode TEXT,
  root_device_name TEXT NOT NULL,
  kernel_id TEXT,
  ena_support INTEGER NOT NULL CHECK (ena_support IN (0, 1)),
  public INTEGER NOT NULL CHECK (public IN (0, 1)),
  state TEXT NOT NULL,
  creation_date TEXT NOT NULL,
  layout TEXT,
  disk_sha256 TEXT NOT NULL CHECK (length(disk_sha256) = 64),
  recipe_sha256 TEXT NOT NULL,
  lock_sha256 TEXT NOT NULL,
  verified INTEGER NOT NULL CHECK (verified IN (0, 1)),
  verdict_json TEXT CHECK (verified = 0 OR verdict_json IS NOT NULL),
  deregistration_date TEXT CHECK ((deregistration_date IS NULL) = (state <> 'deregistered')),
  superseded_by TEXT REFERENCES images (image_id) DEFERRABLE INITIALLY DEFERRED,
  registration_sha256 TEXT NOT NULL CHECK (length(registration_sha256) = 64)
) STRICT
"""

_IMAGE_NAMES = """
CREATE UNIQUE INDEX image_names ON images (owner_id, name) WHERE state <> 'deregistered'
"""

_BLOCK_DEVICES = """
CREATE TABLE block_devices (
  image_id TEXT NOT NULL REFERENCES images (image_id),
  position INTEGER NOT NULL,
  device_name TEXT NOT NULL,
  has_ebs INTEGER NOT NULL,
  snapshot_id TEXT REFERENCES snapshots (snapshot_id),
  volume_size_gib INTEGER,
  volume_type TEXT,
  iops INTEGER,
  delete_on_termination INTEGER,
  encrypted INTEGER,
  virtual_name TEXT,
  no_device INTEGER NOT NULL,
  PRIMARY KEY (image_id, device_name),
  CHECK (has_ebs + (virtual_name IS NOT NULL) + no_device = 1)
) STRICT
"""

_TAGS = """
CREATE TABLE tags (
  resource_id TEXT NOT NULL,
  key TEXT NOT NULL CHECK (length(key) BETWEEN 1 AND 128),
  value TEXT NOT NULL CHECK (length(value) <= 256),
  PRIMARY KEY (resource_id, key)
) STRICT
"""

_SNAPSHOTS_2 = """
CREATE TABLE snapshots_2 (
  snapshot_id TEXT NOT NULL PRIMARY KEY CHECK (snapshot_id LIKE 'snap-%'),
  region TEXT NOT NULL DEFAULT 'us-east-1',
  owner_id TEXT NOT NULL CHECK (length(owner_id) = 12),
  volume_size_gib INTEGER NOT NULL CHECK (volume_size_gib BETWEEN 1 AND 65536),
  state TEXT NOT NULL CHECK (state IN ('pending', 'completed', 'error', 'deleted')),
  start_time TEXT NOT NULL,
  completion_time TEXT,
  description TEXT NOT NULL,
  encrypted INTEGER NOT NULL CHECK (encrypted IN (0, 1)),
  kms_key_id TEXT CHECK ((kms_key_id IS NOT NULL) <= encrypted),
  blob_sha256 TEXT NOT NULL DEFAULT '' CHECK (length(blob_sha256) IN (0, 64)),
  blob_size_bytes INTEGER NOT NULL DEFAULT 0,
  content_id TEXT NOT NULL DEFAULT '',
  volume_id TEXT NOT NULL DEFAULT 'vol-ffffffff',
  parent_snapshot_id TEXT,
  ready_at_s REAL NOT NULL DEFAULT 0,
  timeout_at_s REAL,
  CHECK ((blob_sha256 = '') = (blob_size_bytes = 0)),
  CHECK ((blob_sha256 = '') <> (content_id = ''))
) STRICT
"""

_MOVE_SNAPSHOTS = """
INSERT INTO snapshots_2 (snapshot_id, owner_id, volume_size_gib, state, start_time,
  completion_time, description, encrypted, blob_sha256, blob_size_bytes)
SELECT snapshot_id, owner_id, volume_size_gib, state, start_time,
  start_time, description, encrypted, blob_sha256, blob_size_bytes FROM snapshots
"""

_IMAGES_2 = """
CREATE TABLE images_2 (
  image_id TEXT NOT NULL PRIMARY KEY CHECK (image_id GLOB 'a[mkr]i-*'),
  region TEXT NOT NULL DEFAULT 'us-east-1',
  owner_id TEXT NOT NULL CHECK (length(owner_id) = 12),
  owner_alias TEXT,
  name TEXT NOT NULL CHECK (length(name) BETWEEN 3 AND 128),
  description TEXT NOT NULL CHECK (length(description) <= 255),
  image_type TEXT NOT NULL DEFAULT 'machine'
    CHECK (image_type IN ('machine', 'kernel', 'ramdisk')),
  image_location TEXT NOT NULL DEFAULT '',
  architecture TEXT NOT NULL,
  virtualization_type TEXT NOT NULL CHECK (virtualization_type IN ('hvm', 'paravirtual')),
  boot_mode TEXT,
  root_device_name TEXT NOT NULL,
  root_device_type TEXT NOT NULL DEFAULT 'ebs'
    CHECK (root_device_type IN ('ebs', 'instance-store')),
  kernel_id TEXT,
  ramdisk_id TEXT,
  platform TEXT,
  ena_support INTEGER NOT NULL CHECK (ena_support IN (0, 1)),
  sriov_net_support TEXT,
  tpm_support TEXT,
  imds_support TEXT,
  uefi_data TEXT,
  public INTEGER NOT NULL CHECK (public IN (0, 1)),
  state TEXT NOT NULL,
  state_reason_code TEXT,
  state_reason_message TEXT,
  ready_at_s REAL NOT NULL DEFAULT 0,
  creation_date TEXT NOT NULL,
  deprecation_time TEXT,
  protection TEXT NOT NULL DEFAULT 'disabled',
  protected_until_s REAL NOT NULL DEFAULT 0,
  source_image_id TEXT,
  source_image_region TEXT,
  source_instance_id TEXT,
  layout TEXT,
  disk_sha256 TEXT NOT NULL DEFAULT '' CHECK (length(disk_sha256) IN (0, 64)),
  recipe_sha256 TEXT NOT NULL DEFAULT '',
  lock_sha256 TEXT NOT NULL DEFAULT '',
  verified INTEGER NOT NULL DEFAULT 0 CHECK (verified IN (0, 1)),
  verdict_json TEXT CHECK (verified = 0 OR verdict_json IS NOT NULL),
  deregistration_date TEXT CHECK ((deregistration_date IS NULL) = (state <> 'deregistered')),
  superseded_by TEXT REFERENCES images (image_id) DEFERRABLE INITIALLY DEFERRED,
  registration_sha256 TEXT NOT NULL DEFAULT '' CHECK (length(registration_sha256) IN (0, 64))
) STRICT
"""

_MOVE_IMAGES = """
INSERT INTO images_2 (image_id, owner_id, name, description, image_location, architecture,
  virtualization_type, boot_mode, root_device_name, kernel_id, ena_support, public, state,
  creation_date, layout, disk_sha256, recipe_sha256, lock_sha256, verified, verdict_json,
  deregistration_date, superseded_by, registration_sha256)
SELECT image_id, owner_id, name, description, owner_id || '/' || name, architecture,
  virtualization_type, boot_mode, root_device_name, kernel_id, ena_support, public, state,
  creation_date, layout, disk_sha256, recipe_sha256, lock_sha256, verified, verdict_json,
  deregistration_date, superseded_by, registration_sha256 FROM images ORDER BY rowid
"""

_IMAGE_NAMES_2 = """
CREATE UNIQUE INDEX image_names ON images (owner_id, region, name)
  WHERE state <> 'deregistered' AND image_type = 'machine'
"""

_VOLUMES = """
CREATE TABLE volumes (
  volume_id TEXT NOT NULL PRIMARY KEY CHECK (volume_id LIKE 'vol-%'),
  region TEXT NOT NULL,
  owner_id TEXT NOT NULL CHECK (length(owner_id) = 12),
  availability_zone TEXT NOT NULL,
  size_gib INTEGER NOT NULL CHECK (size_gib BETWEEN 1 AND 65536),
  volume_type TEXT NOT NULL,
  iops INTEGER,
  throughput INTEGER,
  snapshot_id TEXT,
  encrypted INTEGER NOT NULL CHECK (encrypted IN (0, 1)),
  kms_key_id TEXT,
  multi_attach INTEGER NOT NULL DEFAULT 0,
  state TEXT NOT NULL CHECK (state IN ('available', 'deleted')),
  create_time TEXT NOT NULL,
  ready_at_s REAL NOT NULL DEFAULT 0
) STRICT
"""

_LAUNCH_PERMISSIONS = """
CREATE TABLE launch_permissions (
  image_id TEXT NOT NULL REFERENCES images (image_id),
  kind TEXT NOT NULL
    CHECK (kind IN ('Group', 'UserId', 'OrganizationArn', 'OrganizationalUnitArn')),
  value TEXT NOT NULL,
  PRIMARY KEY (image_id, kind, value)
) STRICT
"""

_VOLUME_PERMISSIONS = """
CREATE TABLE volume_permissions (
  snapshot_id TEXT NOT NULL REFERENCES snapshots (snapshot_id),
  kind TEXT NOT NULL CHECK (kind IN ('Group', 'UserId')),
  value TEXT NOT NULL,
  PRIMARY KEY (snapshot_id, kind, value)
) STRICT
"""

_PRODUCT_CODES = """
CREATE TABLE product_codes (
  image_id TEXT NOT NULL REFERENCES images (image_id),
  code TEXT NOT NULL,
  type TEXT NOT NULL CHECK (type IN ('devpay', 'marketplace')),
  PRIMARY KEY (image_id, code)
) STRICT
"""

_REQUEST_TOKENS = """
CREATE TABLE request_tokens (
  owner_id TEXT NOT NULL,
  region TEXT NOT NULL,
  action TEXT NOT NULL,
  token TEXT NOT NULL,
  request_sha256 TEXT NOT NULL CHECK (length(request_sha256) = 64),
  result_json TEXT NOT NULL,
  PRIMARY KEY (owner_id, region, action, token)
) STRICT
"""

# What EC2 knows beside: regions, permissions, tokens; a disk and a blob are no longer needed.
_EC2 = (
    _SNAPSHOTS_2,
    _MOVE_SNAPSHOTS,
    "DROP TABLE snapshots",
    "ALTER TABLE snapshots_2 RENAME TO snapshots",
    _IMAGES_2,
    _MOVE_IMAGES,
    "DROP TABLE images",
    "ALTER TABLE images_2 RENAME TO images",
    _IMAGE_NAMES_2,
    "CREATE INDEX images_by_region ON images (region, image_type, state)",
    "ALTER TABLE block_devices ADD COLUMN throughput INTEGER",
    "ALTER TABLE block_devices ADD COLUMN kms_key_id TEXT",
    "CREATE INDEX block_devices_by_snapshot ON block_devices (snapshot_id)",
    "CREATE INDEX tags_by_key ON tags (key, value)",
    _VOLUMES,
    _LAUNCH_PERMISSIONS,
    _VOLUME_PERMISSIONS,
    _PRODUCT_CODES,
    _REQUEST_TOKENS,
)

_SETTINGS = """
CREATE TABLE settings (
  owner_id TEXT NOT NULL,
  region TEXT NOT NULL,
  name TEXT NOT NULL,
  value TEXT NOT NULL,
  PRIMARY KEY (owner_id, region, name)
) STRICT
"""

_VOLUME_CHANGES = """
CREATE TABLE volume_changes (
  volume_id TEXT NOT NULL REFERENCES volumes (volume_id),
  started_at_s REAL NOT NULL,
  pending_s REAL NOT NULL,
  original_size_gib INTEGER NOT NULL,
  original_iops INTEGER,
  original_volume_type TEXT NOT NULL,
  original_throughput INTEGER,
  original_multi_attach INTEGER NOT NULL,
  target_size_gib INTEGER NOT NULL,
  target_iops INTEGER,
  target_volume_type TEXT NOT NULL,
  target_throughput INTEGER,
  target_multi_attach INTEGER NOT NULL
) STRICT
"""

_RECYCLE_RULES = """
CREATE TABLE recycle_rules (
  identifier TEXT NOT NULL PRIMARY KEY,
  owner_id TEXT NOT NULL,
  region TEXT NOT NULL,
  resource_type TEXT NOT NULL,
  rule_json TEXT NOT NULL
) STRICT
"""

_IMPORT_TASKS = """
CREATE TABLE import_tasks (
  import_task_id TEXT NOT NULL PRIMARY KEY,
  owner_id TEXT NOT NULL,
  region TEXT NOT NULL,
  description TEXT NOT NULL,
  format TEXT NOT NULL CHECK (format IN ('RAW', 'VMDK', 'VHD')),
  bucket TEXT NOT NULL,
  key TEXT NOT NULL,
  url TEXT,
  etag TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  kms_key_id TEXT,
  status TEXT NOT NULL CHECK (status IN ('active', 'completed', 'deleted')),
  status_message TEXT,
  progress INTEGER NOT NULL,
  snapshot_id TEXT
) STRICT
"""
_ROOT_OF_IMAGE = (
    "JOIN block_devices b ON b.image_id = i.image_id AND b.device_name = i.root_device_name"
    " JOIN snapshots s ON s.snapshot_id = b.snapshot_id"
)
_REGISTERED = "i.disk_sha256 <> '' AND i.state <> 'deregistered'"


def _tag_images(key: str, value: str, *, joined: str = "", where: str = "1") -> str:
    return (
        f"INSERT OR IGNORE INTO tags SELECT i.image_id, '{key}', {value} FROM images i {joined}"  # noqa: S608 (this module's text)
        f" WHERE {_REGISTERED} AND {where}"
    )


def _tag_snapshots(key: str, value: str) -> str:
    return (
        f"INSERT OR IGNORE INTO tags SELECT s.snapshot_id, '{key}', {value} FROM images i"  # noqa: S608 (this module's text)
        f" {_ROOT_OF_IMAGE} WHERE {_REGISTERED}"
    )


# What imgforge knows of an image beside EC2 is told by tags, wherever that image is.
_TOLD_BY_TAGS = (
    _tag_images("imgforge:made", "'register'"),
    _tag_images("imgforge:work", "substr(i.registration_sha256, 1, 32)"),
    _tag_images("imgforge:sha256", "i.disk_sha256"),
    _tag_images("imgforge:verdict", "CASE i.verified WHEN 1 THEN 'accepted' ELSE 'unverified' END"),
    _tag_images("imgforge:layout", "i.layout", where="i.layout IS NOT NULL"),
    _tag_images("imgforge:recipe-sha256", "i.recipe_sha256", where="i.recipe_sha256 <> ''"),
    _tag_images("imgforge:lock-sha256", "i.lock_sha256", where="i.lock_sha256 <> ''"),
    _tag_images(
        "imgforge:size-bytes",
        "CAST(s.blob_size_bytes AS TEXT)",
        joined=_ROOT_OF_IMAGE,
        where="s.blob_size_bytes > 0",
    ),
    _tag_snapshots("imgforge:made", "'register'"),
    _tag_snapshots("imgforge:work", "substr(i.registration_sha256, 1, 32)"),
    _tag_snapshots("imgforge:sha256", "i.disk_sha256"),
)

STEPS: Sequence[Sequence[str]] = (
    (_SNAPSHOTS, _IMAGES, _IMAGE_NAMES, _BLOCK_DEVICES, _TAGS),
    _EC2,
    ("ALTER TABLE snapshots ADD COLUMN timeout_s REAL",),
    ("CREATE INDEX images_by_name ON images (region, owner_id, name, state)",),
    ("CREATE INDEX images_by_name_alone ON images (name)",),
    (
        "ALTER TABLE snapshots ADD COLUMN state_message TEXT",
        "ALTER TABLE volumes ADD COLUMN state_message TEXT",
        _SETTINGS,
    ),
    (
        _VOLUME_CHANGES,
        "CREATE INDEX volume_changes_by_volume ON volume_changes (volume_id)",
        _RECYCLE_RULES,
        "ALTER TABLE images ADD COLUMN recycled_at_s REAL",
        "ALTER TABLE images ADD COLUMN recycled_until_s REAL",
        "ALTER TABLE snapshots ADD COLUMN recycled_at_s REAL",
        "ALTER TABLE snapshots ADD COLUMN recycled_until_s REAL",
    ),
    (_IMPORT_TASKS,),
    _TOLD_BY_TAGS,
)
"""What each version adds to the one before it; the first to nothing."""
