"""User data: put together, taken apart as cloud-init 22.4 does, and what is said of it."""

import base64
import gzip
import random
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from imgforge.errors import BadInputError
from imgforge.metadata import Instance
from imgforge.user_data import (
    KINDS,
    Examination,
    Form,
    Frequency,
    Part,
    Stage,
    compose,
    examine_user_data,
    make_user_data,
    pairs,
    read_part,
)
from imgforge.user_data_limit import USER_DATA_LIMIT_BYTES

SCRIPT = b"#!/bin/sh\necho hello\n"
CONFIG = b"#cloud-config\npackages: [nginx]\n"


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def part(mime_type: str, content: bytes, name: str = "file") -> Part:
    return Part(name, content, KINDS[mime_type], mime_type)


def message(*contents: bytes, mime_type: str = "text/x-shellscript") -> bytes:
    parts = [part(mime_type, content, f"n{number}") for number, content in enumerate(contents)]
    return make_user_data(parts, form=Form.MULTIPART)


def kinds(examined: Examination) -> list[str]:
    return [found.kind.mime_type for found in examined.parts]


def ids(examined: Examination) -> list[str]:
    inner = (finding.id for found in examined.parts for finding in found.findings)
    return [*(finding.id for finding in examined.findings), *inner]


@pytest.mark.parametrize(
    ("data", "mime_type", "stage", "frequency"),
    [
        (SCRIPT, "text/x-shellscript", "final", "once per instance"),
        (CONFIG, "text/cloud-config", "config", "once per instance"),
        (b"#CLOUD-CONFIG\nruncmd: []\n", "text/cloud-config", "config", "once per instance"),
        (b"#cloud-boothook\n#!/bin/sh\n", "text/cloud-boothook", "init", "every boot"),
        (b"#include\nhttp://x/y\n", "text/x-include-url", "init", "every boot"),
        (b"#include http://x/y\n", "text/x-include-url", "init", "every boot"),
        (b"#include-once\nhttp://x\n", "text/x-include-once-url", "init", "once per instance"),
        (b"## template: jinja\n#!/bin/sh\n", "text/jinja2", "init", "every boot"),
    ],
)
def test_a_plain_form_is_known_by_its_beginning(
    data: bytes, mime_type: str, stage: str, frequency: str
) -> None:
    examined = examine_user_data(data)
    (found,) = examined.parts
    assert found.kind.mime_type == mime_type
    assert (found.kind.stage, found.kind.frequency) == (Stage(stage), Frequency(frequency))
    assert not examined.has_error


HANDLER = b"#part-handler\ndef list_types(): return []\ndef handle_part(*a): pass\n"


def test_a_good_part_handler_takes_types_that_nobody_else_knows() -> None:
    own = Part("own", b"x", mime_type="text/x-own")
    data = make_user_data([part("text/part-handler", HANDLER), own])
    examined = examine_user_data(data)
    assert ids(examined) == ["type-for-handler"]
    assert not examined.has_error


# Each line merges the one before it twice: the last has 2**40 keys.
MERGES = "#cloud-config\na0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 41)
)


@pytest.mark.parametrize(
    ("data", "finding"),
    [
        (b"\n" + SCRIPT, "no-interpreter"),
        (b"#!\necho\n", "no-interpreter"),
        (b"#!bin/sh\necho\n", "interpreter-relative"),
        (SCRIPT.replace(b"\n", b"\r\n"), "crlf"),
        (SCRIPT + b"echo\r\n", "crlf"),
        (SCRIPT.rstrip(), "no-last-newline"),
        (b"#!/bin/sh\n\xff\n", "not-utf8"),
        ("\ufeff#!/bin/sh\n".encode(), "beginning-unknown"),
        (b"packages: [nginx]\n", "beginning-unknown"),
        (b"# cloud-config\npackages: []\n", "beginning-unknown"),
        (b"hello\n", "beginning-unknown"),
        (b"\x7fELF\x02\x01\x01\0", "beginning-unknown"),
        (b"#upstart-job\nexec x\n", "upstart-job"),
        (b"#cloud-boothook\necho\n", "no-interpreter"),
        (b"#include <stdio.h>\n", "include-no-url"),
        (b"#include\n# nothing\n", "include-empty"),
        (b"#cloud-config\n\tpackages: []\n", "yaml"),
        (b"#cloud-config\na: [\n", "yaml"),
        (b"#cloud-config\na: !!python/object:x {}\n", "yaml"),
        (b"#cloud-config\na: &a [*a]\n", "yaml"),
        (b"#cloud-config\na: &a {<<: *a}\n", "yaml"),
        (b"#cloud-config\na: {<<: b}\n", "yaml"),
        (b"#cloud-config\na: {<<: [{}, 3]}\n", "yaml"),
        (b"#cloud-config\na: [<<]\n", "yaml"),
        (b"#cloud-config\na: =\n", "yaml"),
        (MERGES.encode(), "yaml"),
        (b"#cloud-config\n- a\n", "yaml-no-mapping"),
        (b"#cloud-config\n", "yaml-empty"),
        (b"#cloud-config\nrun_cmd: []\n", "key-unknown"),
        (b"#cloud-config\nruncmd: []\nruncmd: []\n", "key-twice"),
        (b"#cloud-config-archive\na: b\n", "archive-no-list"),
        (b"#cloud-config-archive\n- 3\n", "archive-entry"),
        (b"#cloud-config-archive\n- '#include x'\n", "include-in-archive"),
        (b"#part-handler\ndef f(:\n", "handler-no-python"),
        (b"#part-handler\ndef list_types(): pass\n", "handler-lacks"),
        (b"## template: jinja\n#cloud-config\na: {{ }\n", "template-syntax"),
        (b"## template: jinja\n#cloud-boothook\n", "template-of-other"),
        (b"x" * (USER_DATA_LIMIT_BYTES + 1), "too-large"),
        (packed(SCRIPT)[:-9], "gzip-damaged"),
        (b"\x1f\x8bgarbage", "gzip-damaged"),
        (packed(b"\0" * 5_000_000), "unpacks-too-large"),
        (base64.b64encode(SCRIPT), "base64"),
        (base64.encodebytes(packed(SCRIPT)), "base64"),
        (base64.b64encode(base64.b64encode(SCRIPT)), "base64-in-base64"),
        (b"\n" + message(SCRIPT), "headers-not-first"),
        (message(SCRIPT).replace(b"MIME-Version: 1.0\n", b""), "mime-version-missing"),
        (b"MIME-Version: 1.0\nContent-Type: multipart/mixed\n\nx", "multipart-empty"),
        (b"MIME-Version: 1.0\nContent-Type: text/html\n\nx", "type-unknown"),
        (b"MIME-Version: 1.0\n\n#!/bin/sh\n# \xc3\xbc\n", "letters-spoilt"),
        (b"MIME-Version: 1.0\n\n#!/bin/sh\n# \xff\n", "message-not-utf8"),
        (
            b"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\n\xc3\xbc\xff=\n",
            "part-unreadable",
        ),
        (
            b"MIME-Version: 1.0\nContent-Transfer-Encoding: base64\n\nIyEvYmluL3No*\n",
            "base64-damaged",
        ),
        (b"", "empty"),
    ],
)
def test_what_is_wrong_is_found(data: bytes, finding: str) -> None:
    assert finding in ids(examine_user_data(data))


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"packages: [nginx]\n", "YAML needs #cloud-config"),
        (b"# cloud-config\npackages: []\n", "Is #cloud-config meant?"),
        ("\ufeff#cloud-config\n".encode(), "byte order mark"),
        (b"echo hello\n", "A script needs #!"),
        (b"#cloud-config\nrun_cmd: []\n", "Is runcmd meant?"),
        (b"#cloud-config\na:\n\t- b\n", "no tabs"),
        (
            b"MIME-Version: 1.0\nContent-Type: text/x-cloud-config\n\nx",
            "Is text/cloud-config meant",
        ),
    ],
)
def test_the_hint_says_what_to_change(data: bytes, hint: str) -> None:
    examined = examine_user_data(data)
    told = [finding.hint for found in examined.parts for finding in found.findings]
    assert any(hint in text for text in told), told


MERGED = """\
base: &b {owner: root, path: /a}
more: &m {mode: '0600', owner: web}
<<: [{owner: first}, *b]
write_files:
  - {<<: *b, path: /x, content: hi}
  - {<<: [*b, *m], <<: {path: /y}, =: z}
"""


def test_merge_keys_are_read_as_the_library_reads_them() -> None:
    assert ids(examine_user_data(b"#cloud-config\n" + MERGED.encode())) == []
    root = compose(MERGED)
    entries = pairs(root)["write_files"]
    for node, value in (
        (root, yaml.safe_load(MERGED)),
        *zip(entries.value, yaml.safe_load(MERGED)["write_files"], strict=True),
    ):
        texts = {key: inner.value for key, inner in pairs(node).items() if key in value}
        wanted = {key: text for key, text in value.items() if isinstance(text, str)}
        assert {key: texts[key] for key in wanted} == wanted
        assert set(texts) == set(value)


def test_a_script_that_speaks_of_mime_is_still_one() -> None:
    examined = examine_user_data(b'#!/bin/sh\necho "MIME-Version: 1.0"\n')
    assert kinds(examined) == ["text/x-shellscript"]
    assert not examined.has_error


def test_the_content_decides_what_a_shell_script_is() -> None:
    assert kinds(examine_user_data(message(CONFIG))) == ["text/cloud-config"]


@pytest.mark.parametrize(
    "content",
    [
        SCRIPT,
        "#!/bin/sh\necho grün\n".encode(),
        b"#!/bin/sh\r\necho\r\n",
        b"#!/bin/sh\n" + b"x" * 2000,
        b"#!/bin/sh\n\n\n",
        b"#!/bin/sh\nFrom here\n--boundary--\n.\n",
        bytes(range(256)),
    ],
)
def test_a_part_comes_out_of_a_message_as_it_went_in(content: bytes) -> None:
    examined = examine_user_data(message(content, SCRIPT))
    assert [found.content for found in examined.parts] == [content, SCRIPT]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=20), st.binary(min_size=1, max_size=300)), min_size=1))
def test_whatever_goes_into_a_message_comes_out_of_it(contents: list[tuple[str, bytes]]) -> None:
    parts = [part("text/cloud-boothook", content, name) for name, content in contents]
    examined = examine_user_data(make_user_data(parts, form=Form.MULTIPART, compressed=True))
    assert [found.content for found in examined.parts] == [content for _, content in contents]
    assert "same-name" not in ids(examined)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200), st.sampled_from([b"", b"#cloud-config\n", b"MIME-Version: 1.0\n"]))
def test_whatever_is_given_is_told_never_raised(data: bytes, beginning: bytes) -> None:
    assert examine_user_data(beginning + data).size_bytes == len(beginning + data)


def test_parts_keep_their_order_by_name() -> None:
    parts = [part("text/x-shellscript", SCRIPT, name) for name in ("z", "a", "a", "ü/../x")]
    examined = examine_user_data(make_user_data(parts))
    names = [found.name for found in examined.parts]
    assert names == ["001-z", "002-a", "003-a", "004-__.._x"]
    assert ids(examined) == []


def test_scripts_of_one_name_and_of_another_order_are_told() -> None:
    one = make_user_data([part("text/x-shellscript", SCRIPT)] * 2)
    assert "same-name" in ids(examine_user_data(one.replace(b"002-", b"001-")))
    assert "order-by-name" in ids(examine_user_data(one.replace(b"002-", b"000-")))


def test_one_part_stays_as_it_is_and_a_kind_without_a_beginning_becomes_a_message() -> None:
    assert make_user_data([part("text/x-shellscript", SCRIPT)]) == SCRIPT
    made = make_user_data([part("text/x-shellscript-per-boot", SCRIPT)])
    assert kinds(examine_user_data(made)) == ["text/x-shellscript-per-boot"]
    assert make_user_data([part("text/x-shellscript", SCRIPT)], form=Form.MULTIPART) != SCRIPT


def test_what_ec2_would_refuse_is_not_made_and_the_way_out_is_told() -> None:
    large = part("text/x-shellscript", SCRIPT + b"#" * USER_DATA_LIMIT_BYTES)
    with pytest.raises(BadInputError, match="at most 16384") as refused:
        make_user_data([large])
    assert "--gzip makes it" in refused.value.hint
    assert len(make_user_data([large], compressed=True)) < 200
    noise = random.Random(1).randbytes(USER_DATA_LIMIT_BYTES)
    with pytest.raises(BadInputError) as refused:
        make_user_data([part("text/x-shellscript", noise)])
    assert "#include" in refused.value.hint
    with pytest.raises(BadInputError, match="no part"):
        make_user_data([])


def test_an_instance_takes_no_more_than_ec2() -> None:
    Instance("i-0", "ami-0", user_data=b"x" * USER_DATA_LIMIT_BYTES)
    with pytest.raises(ValueError, match="at most 16384"):
        Instance("i-0", "ami-0", user_data=b"x" * (USER_DATA_LIMIT_BYTES + 1))


@pytest.mark.parametrize(
    ("name", "content", "suffix", "mime_type"),
    [
        ("a.sh", SCRIPT, "", "text/x-shellscript"),
        ("a:b.sh", SCRIPT, "", "text/x-shellscript"),
        ("a.sh", SCRIPT, ":x-shellscript-per-boot", "text/x-shellscript-per-boot"),
        ("a.sh", SCRIPT, ":shellscript", "text/x-shellscript"),
        ("a.yaml", b"a: 1\n", ":text/cloud-config", "text/cloud-config"),
        ("a.yaml", b"a: 1\n", ":Cloud-Config", "text/cloud-config"),
    ],
)
def test_a_file_or_who_names_it_tells_what_it_is(
    tmp_path: Path, name: str, content: bytes, suffix: str, mime_type: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert read_part(f"{tmp_path / name}{suffix}").kind.mime_type == mime_type


def test_a_packed_file_is_unpacked_by_the_guest(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(packed(CONFIG))
    made = make_user_data([read_part(str(tmp_path / "a.gz"))])
    assert kinds(examine_user_data(made)) == ["text/cloud-config"]


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("plain", "does not tell what it is"),
        ("missing", "no such file"),
        (".", "is a directory"),
        ("plain:nonsense", "'nonsense' is no type"),
        ("packed", "does not tell what it is"),
    ],
)
def test_a_part_that_is_none_is_refused(tmp_path: Path, argument: str, said: str) -> None:
    (tmp_path / "plain").write_text("hello\n")
    (tmp_path / "packed").write_bytes(packed(b"hello")[:-4])
    with pytest.raises(BadInputError, match=said):
        read_part(f"{tmp_path}/{argument}")


HOSTILE = (
    packed(message(SCRIPT, CONFIG)),
    message(SCRIPT, CONFIG),
    b"#cloud-config-archive\n- {type: text/x, content: [a]}\n- !!binary x\n- {a: b}\n",
    b"#cloud-config\n" + b"[" * 400,
    b"#cloud-config\na: &a {b: c}\n"
    + b"".join(
        b"x%d: &x%d {<<: [%s]}\n" % (n, n, b",".join([b"*x%d" % (n - 1) if n else b"*a"] * 9))
        for n in range(12)
    ),
    b"#cloud-config\n&a a: *a\n*a : *a\n",
    b"## template: jinja\n#cloud-config\n" + b"{{" * 2000 + b"(" * 2000,
    b"#part-handler\n" + b"(" * 3000,
    b"MIME-Version: 1.0\n"
    + b"".join(
        b"Content-Type: multipart/mixed; boundary=%d\n\n--%d\n" % (n, n) for n in range(400)
    ),
    b"MIME-Version: 1.0\nContent-Type: message/rfc822\n\n" * 400,
    b"MIME-Version: 1.0\nContent-Type: text/cloud-config\nContent-Transfer-Encoding: base64\n\n=",
    b"MIME-Version: 1.0\nContent-Type: a\nContent-Disposition: x; filename*=zz'q'%ff\n\nx",
    b"#include\n" + b"http://\xff\n\x1b[31m\n" * 100,
    base64.b64encode(b"#!" + bytes(range(256))),
)


@pytest.mark.parametrize("sample", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_and_truncated_user_data_is_told_never_raised(sample: bytes) -> None:
    step = max(1, len(sample) // 20)
    for length in range(0, len(sample) + 1, step):
        assert examine_user_data(sample[:length]).size_bytes == length
    assert examine_user_data(sample).size_bytes == len(sample)


@pytest.mark.parametrize("seed", range(40))
def test_garbage_is_told_never_raised(seed: int) -> None:
    dice = random.Random(seed)
    base = bytearray(dice.choice((*HOSTILE, SCRIPT, CONFIG, HANDLER))[:4000])
    for _ in range(20):
        base[dice.randrange(len(base))] = dice.randrange(256)
    for data in (bytes(base), dice.randbytes(dice.randrange(300))):
        assert examine_user_data(data).size_bytes == len(data)
