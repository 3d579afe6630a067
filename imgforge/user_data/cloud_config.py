"""A cloud-config's YAML: whether cloud-init can read it, and keys that are hardly meant."""

import difflib
from collections.abc import Iterator
from itertools import islice

import yaml

from imgforge.user_data.finding import Finding, error, warning
from imgforge.user_data.yaml_text import MERGE_TAG, NotYamlError, compose

# What cloud-init 22.4's schema knows at the top. Others need not be wrong (vendors have their
# own): only what is one slip away from one of these is told.
_KEY_WORDS = """
    allow_public_ssh_keys ansible apk_repos apt apt_pipelining apt_reboot_if_required apt_update
    apt_upgrade authkey_hash autoinstall bootcmd byobu_by_default ca_certs chef chpasswd
    cloud_config_modules cloud_final_modules cloud_init_modules datasource device_aliases
    disable_ec2_metadata disable_root disable_root_opts disk_setup drivers fan final_message fqdn
    fs_setup groups growpart grub_dpkg hostname keyboard landscape locale locale_configfile lxd
    manage_etc_hosts manage_resolv_conf mcollective merge_how merge_type migrate
    mount_default_fields mounts network no_ssh_fingerprints ntp output package_reboot_if_required
    package_update package_upgrade packages password phone_home power_state
    prefer_fqdn_over_hostname preserve_hostname puppet random_seed resize_rootfs resolv_conf
    rh_subscription rsyslog runcmd salt_minion snap spacewalk ssh ssh_authorized_keys
    ssh_deletekeys ssh_fp_console_blacklist ssh_genkeytypes ssh_import_id
    ssh_key_console_blacklist ssh_keys ssh_publish_hostkeys ssh_pwauth ssh_quiet_keygen
    system_info swap timezone ubuntu_advantage updates user users vendor_data wireguard
    write_files yum_repo_dir yum_repos zypper
"""
_KEYS = frozenset(_KEY_WORDS.split())
_CLOSE = 0.85
_MOST_FINDINGS = 20


def examine_cloud_config(text: str) -> Iterator[Finding]:
    """Yield what is wrong with a cloud-config; cloud-init reads it with the same library."""
    try:
        root = compose(text)
    except NotYamlError as problem:
        needed = "cloud-init cannot read it, and ignores the part"
        yield error("yaml", str(problem), needed, hint=problem.hint)
        return
    if root is None or root.tag == "tag:yaml.org,2002:null":
        yield warning("yaml-empty", "no value", "cloud-init warns of it and goes on")
    elif not isinstance(root, yaml.MappingNode):
        found = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        needed = "a cloud-config is keys with values; cloud-init ignores the part"
        yield error("yaml-no-mapping", found, needed)
    else:
        yield from islice(_of_keys(root), _MOST_FINDINGS)


def _of_keys(root: yaml.MappingNode) -> Iterator[Finding]:
    seen: set[str] = set()
    for key, _ in root.value:
        if key.tag == MERGE_TAG:
            continue
        name = str(key.value)
        line = key.start_mark.line + 1
        if name in seen:
            yield warning(
                "key-twice", f"line {line}: {name!r} a second time", "the last one alone counts"
            )
        seen.add(name)
        plain = name.replace("-", "_")
        if plain in _KEYS:
            continue
        near = difflib.get_close_matches(plain.lower(), _KEYS, n=1, cutoff=_CLOSE)
        if near:
            found = f"line {line}: the key {name[:60]!r}"
            yield warning(
                "key-unknown", found, "cloud-init does nothing with it", hint=f"Is {near[0]} meant?"
            )
