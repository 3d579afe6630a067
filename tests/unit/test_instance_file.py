"""An instance's file: what is wrong is told with its line, also what no type can know."""

from pathlib import Path

import pytest

from imgforge.errors import BadInputError
from imgforge.metadata import default_instance, load_faults, load_instance

_INTERFACE = "[[further_interfaces]]\nmac_address = '02:00:00:00:00:0{}'\ndevice_number = {}\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('instance_typ = "m5"', "bad.toml:1: unknown key 'instance_typ'; allowed here:"),
        ("\n[placement]\npartition_number = 'x'", "bad.toml:3: placement.partition_number:"),
        ("= 1", "not TOML"),
        ("\xff\xfe", "bad.toml"),
        (
            "launch_index = 1\npending_time = 'today'",
            "bad.toml:2: pending_time: a time is as in 2024-01-01T00:00:00Z: 'today'",
        ),
        ("\n[public_keys]\n'a/b' = 'x'", "bad.toml:3: public_keys.a/b: a name in the metadata has"),
        ("\n[iam_role]\nname = 'a/b'", "bad.toml:3: iam_role.name: a name in the metadata has"),
        ("launch_index = 1\nuser_data = '" + "x" * 16385 + "'", "bad.toml:2: user_data: user data"),
        ("[block_devices]\nami = 'sda1'\nsdb = 'sdb'", "bad.toml:3: block_devices.sdb: no virtual"),
        (
            "[options]\ninstance_metadata_tags = 'enabled'\n[tags]\nName = 'a'\n'a b' = 'c'",
            "bad.toml:5: tags.a b: a tag that the metadata cannot show: 'a b'",
        ),
        (
            "[options]\nhttp_tokens = 'required'\nhttp_put_response_hop_limit = 65",
            "bad.toml:3: options.http_put_response_hop_limit: the hop limit is 1 to 64, found 65",
        ),
        ("launch_index = 1\nregion = 'mars'", "bad.toml:2: region: a region is as us-east-1"),
        ("region = ''", "bad.toml:1: region: a region is as us-east-1"),
        (
            "region = 'eu-west-1'\navailability_zone = 'us-east-1a'",
            "bad.toml:2: availability_zone: a zone of the region is as eu-west-1a",
        ),
        ("\nmac_address = '02:00/'", "bad.toml:2: mac_address: a MAC address is as 02:00:"),
        (
            'launch_index = 1\npublic_ipv4 = "1.2.3.4\\nforged"',
            "bad.toml:2: public_ipv4: an IPv4 address is as",
        ),
        ("launch_index = -5", "bad.toml:1: launch_index: it is 0 or more, found -5"),
        (
            _INTERFACE.format(2, 1) + "local_ipv4s = ['10.0.0.1', 'x']",
            "bad.toml:4: further_interfaces[0].local_ipv4s[1]: an IPv4 address is as",
        ),
        (
            _INTERFACE.format(2, 1) + _INTERFACE.format(3, 1),
            "bad.toml:6: further_interfaces[1].device_number: two network interfaces of a",
        ),
        (
            _INTERFACE.format(2, 1) + _INTERFACE.format(1, 2),
            "bad.toml:5: further_interfaces[1].mac_address: two network interfaces have one MAC",
        ),
    ],
)
def test_a_bad_instance_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "bad.toml"
    path.write_text(text, encoding="latin-1" if "\xff" in text else "utf-8")
    with pytest.raises(BadInputError) as refused:
        load_instance(path)
    assert told in str(refused.value)
    assert len(str(refused.value)) < 1500


def test_a_local_zones_id_is_given_by_the_file(tmp_path: Path) -> None:
    path = tmp_path / "local.toml"
    zone = "availability_zone = 'us-east-1-bos-1a'\n"
    path.write_text(zone + "availability_zone_id = 'use1-bos1-az1'\n")
    assert load_instance(path).zone_id == "use1-bos1-az1"
    path.write_text(zone)
    with pytest.raises(BadInputError, match="availability_zone_id has to be given"):
        load_instance(path)


def test_a_bad_fault_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[fault]]\npath = "/"\nstatus = 500\n\n[[fault]]\npath = "x"\n')
    with pytest.raises(BadInputError, match=r'faults.toml:5: fault\[1\]: a path starts with "/"'):
        load_faults(path)


def test_an_id_that_the_file_does_not_name_is_the_callers(tmp_path: Path) -> None:
    path = tmp_path / "web.toml"
    path.write_text("launch_index = 1\n")
    assert load_instance(path).instance_id == default_instance().instance_id
    assert load_instance(path, instance_id="").instance_id == ""
    path.write_text('instance_id = "i-0f"\n')
    assert load_instance(path, instance_id="").instance_id == "i-0f"
