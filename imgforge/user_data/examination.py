"""What a guest will do with user data, part by part, and what is wrong with it."""

import ast
import difflib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

import jinja2

from imgforge.user_data.cloud_config import examine_cloud_config
from imgforge.user_data.finding import Finding, Weight, error, note, warning
from imgforge.user_data.kind import (
    BOOTHOOK,
    CLOUD_CONFIG,
    INCLUDES,
    JINJA,
    KINDS,
    PART_HANDLER,
    SCRIPT,
    SCRIPTS,
    UNKNOWN,
    UPSTART,
    Kind,
    kind_of_text,
)
from imgforge.user_data.part import Part
from imgforge.user_data.reader import open_user_data
from imgforge.user_data.yaml_text import LARGEST_CHARACTERS
from imgforge.user_data_limit import excess

_BOM = "\ufeff"
_URL = re.compile(r"(https?|ftp)://[^\s/]+\S*|file:///\S+", re.IGNORECASE)
_MOST_URLS = 50


@dataclass(frozen=True, slots=True)
class Examination:
    """User data examined: its size, its wrappings, its parts, and findings of the whole."""

    size_bytes: int
    wrappings: tuple[str, ...]
    parts: tuple[Part, ...]
    findings: tuple[Finding, ...]

    @property
    def has_error(self) -> bool:
        """Whether something in it will not take effect."""
        inner = (finding for part in self.parts for finding in part.findings)
        return any(finding.weight is Weight.ERROR for finding in (*self.findings, *inner))


def examine_user_data(data: bytes) -> Examination:
    """Tell what a guest with cloud-init will do with user data; never raises for its content."""
    opened = open_user_data(data)
    parts = tuple(_examined(part, opened.parts) for part in opened.parts)
    findings = [*_of_size(data), *opened.findings, *_of_names(parts)]
    if not parts and not findings:
        findings.append(warning("empty", "nothing", "without user data, give none"))
    return Examination(len(data), opened.wrappings, parts, tuple(findings))


def _of_size(data: bytes) -> Iterator[Finding]:
    if wrong := excess(data):
        yield error(
            "too-large",
            wrong,
            "EC2 refuses to launch with it",
            hint="imgforge user-data make --gzip compresses; `#include` fetches from elsewhere.",
        )


def _of_names(parts: tuple[Part, ...]) -> Iterator[Finding]:
    kept = [part.name for part in parts if part.kind in SCRIPTS or part.kind is BOOTHOOK]
    for name, times in Counter(kept).items():
        if times > 1:
            found = f"{times} scripts of the name {name}"
            yield error("same-name", found, "the later ones replace the first: name them apart")
    scripts = [part.name for part in parts if part.kind is SCRIPT]
    if scripts != sorted(scripts):
        order = ", ".join(sorted(scripts))
        yield note("order-by-name", f"scripts run in the order of their names: {order}")


def _examined(part: Part, parts: tuple[Part, ...]) -> Part:
    kind = part.kind
    if kind is JINJA and len(part.content) <= LARGEST_CHARACTERS:
        part = replace(part, rendered_kind=_rendered_kind(part.text))
        findings = list(_of_template(part.text))
    elif kind is UNKNOWN and not part.findings:
        findings = list(_of_unknown(part, parts))
    elif kind is UPSTART:
        findings = [error("upstart-job", "an upstart job", "no guest of today runs it")]
    else:
        findings = list(_of_known(part))
    return replace(part, findings=(*part.findings, *findings))


def _of_known(part: Part) -> Iterator[Finding]:
    text = part.text
    kind = part.kind
    if len(text) > LARGEST_CHARACTERS:
        found = f"{len(text)} characters"
        yield warning("not-looked-at", found, f"only up to {LARGEST_CHARACTERS} are looked at")
        return
    if kind in SCRIPTS or kind is BOOTHOOK:
        yield from _of_program(part)
    elif kind in INCLUDES:
        yield from _of_include(text)
    elif kind is PART_HANDLER:
        yield from _of_handler(text)
    elif kind is CLOUD_CONFIG:
        yield from examine_cloud_config(text)


def _of_program(part: Part) -> Iterator[Finding]:
    text = part.text
    if part.kind is BOOTHOOK:
        text = text.removeprefix(BOOTHOOK.beginning).lstrip()
    if not _is_utf8(part.content):
        yield error("not-utf8", "bytes that are no UTF-8", "cloud-init cannot write it to a file")
    first = text.partition("\n")[0].rstrip("\r")
    if not text.startswith("#!") or not first[2:].strip():
        yield error(
            "no-interpreter",
            f"a script that begins with {_shown(first)}",
            "its first line names an interpreter, as #!/bin/sh",
            hint=_hint_of_first_line(part, text),
        )
    elif not first[2:].strip().startswith("/"):
        needed = "the kernel takes it relative to the working folder"
        yield warning("interpreter-relative", f"the interpreter {_shown(first[2:])}", needed)
    if "\r\n" in text:
        repaired = text.partition("\n")[0].endswith("\r")
        yield warning(
            "crlf",
            "lines that end as in DOS (CR LF)",
            "cloud-init repairs them since the first line ends so; other guests look for an "
            "interpreter with a CR in its name"
            if repaired
            else "the first line does not, so cloud-init leaves them, and the shell trips",
            hint="dos2unix FILE makes them plain.",
        )
    if not text.endswith("\n"):
        yield note("no-last-newline", "a last line without an end")


def _hint_of_first_line(part: Part, text: str) -> str:
    if text.startswith(_BOM):
        return "Remove the byte order mark (BOM) before it."
    if part.kind is not BOOTHOOK and text.lstrip().startswith("#!"):
        return "Remove the white space before #!."
    return ""


def _of_include(text: str) -> Iterator[Finding]:
    urls = list(_urls(text))
    if not urls:
        yield error("include-empty", "no URL", "an include lists one URL a line")
    for url in urls[:_MOST_URLS]:
        if _URL.fullmatch(url):
            yield note(
                "include-url",
                _shown(url),
                "where it does not answer, no part of the user data takes effect",
            )
        else:
            yield error("include-no-url", _shown(url), "an include lists URLs, one a line")


def _urls(text: str) -> Iterator[str]:
    for line in text.splitlines():
        rest = re.sub(r"^#include(-once)?", "", line, flags=re.IGNORECASE).strip()
        if rest and not rest.startswith("#"):
            yield rest


def _of_handler(text: str) -> Iterator[Finding]:
    try:
        module = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as problem:
        yield error("handler-no-python", _one_line(problem), "a part handler is a Python module")
        return
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    for name in ("list_types", "handle_part"):
        if name not in functions:
            yield error("handler-lacks", f"no function {name}", "cloud-init calls it")


def _rendered_kind(text: str) -> Kind:
    return kind_of_text(text.lstrip().partition("\n")[2])


def _of_template(text: str) -> Iterator[Finding]:
    try:
        jinja2.Environment(autoescape=True).parse(text)
    except jinja2.TemplateSyntaxError as problem:
        yield error("template-syntax", f"line {problem.lineno}: {_one_line(problem)}", "")
    except RecursionError:
        yield error("template-syntax", "braces within braces without an end", "")
    rendered = _rendered_kind(text)
    if rendered not in {SCRIPT, CLOUD_CONFIG}:
        told = rendered.beginning or "nothing that is known"
        needed = "a template becomes a script or a cloud-config; others are ignored"
        yield error("template-of-other", f"a second line with {told}", needed)


def _of_unknown(part: Part, parts: tuple[Part, ...]) -> Iterator[Finding]:
    if not part.content.strip():
        yield note("empty", "an empty part")
        return
    first = part.text.lstrip().partition("\n")[0].strip()
    if any(other.kind is PART_HANDLER for other in parts) and part.mime_type:
        yield note(
            "type-for-handler", f"the type {_shown(part.mime_type)}", "if a handler lists it"
        )
        return
    if part.mime_type and part.mime_type not in {"text/plain", "text/x-not-multipart"}:
        near = difflib.get_close_matches(part.mime_type, KINDS, n=1)
        yield error(
            "type-unknown",
            f"the type {_shown(part.mime_type)}",
            "cloud-init ignores the part",
            hint=f"Is {near[0]} meant?" if near else f"Known are {', '.join(sorted(KINDS))}.",
        )
        return
    yield error(
        "beginning-unknown",
        f"a first line {_shown(first)}",
        "cloud-init knows none that begins so, and ignores it",
        hint=_hint_of_beginning(part.text, first),
    )


def _hint_of_beginning(text: str, first: str) -> str:
    if text.startswith(_BOM):
        return "Remove the byte order mark (BOM) before it."
    near = difflib.get_close_matches(
        first[:40].lower().replace(" ", ""),
        [kind.beginning for kind in KINDS.values() if kind.beginning],
        n=1,
        cutoff=0.75,
    )
    if near:
        return f"Is {near[0]} meant? It has to be the first line."
    if re.match(r"[\w-]+:(\s|$)", first) or first == "---":
        return "YAML needs #cloud-config as its first line."
    return "A script needs #! and its interpreter as its first line."


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _one_line(problem: Exception) -> str:
    return " ".join(str(problem).split())


def _shown(text: str) -> str:
    cut = text if len(text) <= 60 else text[:57] + "…"
    return repr(cut.encode("utf-8", "backslashreplace").decode("utf-8"))
