"""From an output to its page: which kind of output it is, its facts, and the templates that show them."""

import base64
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from recast.pipeline import storage, wording
from recast.pipeline.report import audit, bulk, training
from recast.pipeline.report.output import Output

HERE = Path(__file__).parent
TRAINING = ("run.json", "logs", "checkpoints", "bundle")
REPORT = "report.html"
PREVIEW = "preview.html"
BULK = ("index", "shards", "runs")
MARK = b'<meta name="generator" content="recast report">'
"""What every page says of itself near its top."""


def render(url: str, source: str | None = None) -> str:
    """The page about an output, as HTML that needs nothing else: no network, no other file.

    Args:
        source: where the inputs of a bulk output lie, to show them beside its results; by default those of one's own
            runs are shown.

    Raises:
        StorageError: there is no output of Recast at `url`, or it can't be read.
    """
    output = Output.at(url)
    with storage.faults_as_sentences(f"reading {url}"):
        kind = _kind(output)
        facts: Any = training.gather(output) if kind == "training" else bulk.gather(output, source)
    return _rendered(f"{kind}.html", facts)


def _rendered(template: str, facts: Any) -> str:
    style, script = ((HERE / name).read_text() for name in ("page.css", "page.js"))
    return (
        _templates()
        .get_template(template)
        .render(
            facts=facts,
            style=Markup(style),  # our own file, as the next one
            script=Markup(script),
            script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        )
    )


def write(url: str, target: str | None = None, *, source: str | None = None) -> str:
    """Write the page about an output to `target`, by default `report.html` in the output. Returns where it is.

    Raises:
        StorageError: there is no output of Recast at `url`, or `target` can't be written.
    """
    page = render(url, source).encode()
    place = report_place(url, target)
    fs, path = storage.filesystem(place)
    with storage.faults_as_sentences(f"writing {place}"):
        storage.write_bytes(fs, path, page)
    return place


def write_audit(
    url: str,
    target: str | None = None,
    *,
    sample: int = 24,
    show_held: bool = False,
    signed_off_by: str | None = None,
    source: str | None = None,
) -> tuple[str, str]:
    """Write the audit of a de-identified output, a page and the JSON beside it. Returns where they are.

    Args:
        target: of the page; by default `audit.html` in the output. The JSON has the same name with another ending.
        sample: images of each kind on the page.
        show_held: put the originals of held images on it.
        signed_off_by: who has looked at the page and signs.
        source: where the originals of held images lie; by default where one's own runs read them.

    Raises:
        SignError: a sampled image can't be shown, or the page that lies there to be looked at was another one.
        StorageError: it is no output of `recast deidentify`, or the target can't be written.
    """
    output = Output.at(url)
    with storage.faults_as_sentences(f"reading {url}"):
        facts = audit.gather(output, sample=sample, show_held=show_held, source=source)
    page = _rendered("audit.html", facts).encode()
    place, beside = audit_places(url, target)
    fs, path = storage.filesystem(place)
    with storage.faults_as_sentences(f"writing {place}"):
        stale = bool(signed_off_by) and _lies_there(fs, path) not in (None, page)
        signature = audit.sign(facts, page, None if stale else signed_off_by)
        storage.write_bytes(fs, path, page)
        storage.write_bytes(fs, storage.filesystem(beside)[1], signature)
    if stale:
        raise audit.SignError(
            f"{place} showed something else until now: another sample, or an older state of the output. It is written "
            f"anew and not signed; look at it, then give the same command again"
        )
    return place, beside


def write_preview(url: str, target: str, *, sample: int, inputs: int, of: str) -> None:
    """Write the page about a de-identification of some images, sampled from all inputs, that nobody will publish.

    Args:
        url: the scratch output that holds them.
        sample: how many images of each kind are on the page at most.
        inputs: how many there are in all.
        of: the output that they were tried for.

    Raises:
        StorageError: `target` can't be written.
    """
    facts = audit.gather(Output.at(url), sample=sample, show_held=False)
    page = _rendered("audit.html", dataclasses.replace(facts, url=Output.at(of).url, sampled_from=inputs)).encode()
    fs, path = storage.filesystem(target)
    with storage.faults_as_sentences(f"writing {target}"):
        storage.write_bytes(fs, path, page)


def is_page(data: bytes) -> bool:
    """Whether a file's bytes are those of a page that `write` or `write_audit` wrote."""
    return MARK in data[:1024]


def report_place(url: str, target: str | None = None) -> str:
    """Where the page about an output goes."""
    return target or storage.join(url, REPORT)


def preview_place(url: str) -> str:
    """Where the page of a preview of an output goes."""
    return storage.join(url, PREVIEW)


def audit_places(url: str, target: str | None = None) -> tuple[str, str]:
    """Where the audit of an output goes, the page and the JSON beside it."""
    page = target or storage.join(url, f"{audit.AUDIT}.html")
    return page, page.removesuffix(".html") + ".json"


def _lies_there(fs: storage.FileSystem, path: str) -> bytes | None:
    """The page that somebody may have looked at; None where there is none."""
    try:
        return storage.read_bytes(fs, path)
    except FileNotFoundError:
        return None


def _kind(output: Output) -> str:
    if any(output.has(name) for name in BULK):
        return "bulk"
    if any(output.has(name) for name in TRAINING):
        return "training"
    if output.fs.isdir(output.root):
        found = {str(path).rstrip("/").rsplit("/", 1)[-1] for path in output.fs.ls(output.root, detail=False)}
        if found <= {REPORT, f"{audit.AUDIT}.html", f"{audit.AUDIT}.json"}:
            return "bulk"
    raise storage.StorageError(
        f"there is no output of Recast at {output.url}: neither a bulk job's index/ or runs/ nor a training's run.json"
    )


def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=wording.plain,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {**wording.FILTERS, "pretty": _pretty}
    return environment


def _pretty(value: Any) -> str:
    """A spec as indented JSON, for reading."""
    return json.dumps(value, indent=2, ensure_ascii=False)
