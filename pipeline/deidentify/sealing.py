"""The sidecar rows of a de-identification: sealed, what was replaced in each image, and its name where keys hide it."""

from collections.abc import Iterator

from recast.pipeline.bulk.operation import Result, SidecarRow
from recast.pipeline.deidentify.secrets import seal
from recast.pipeline.output.rows import Row
from recast.pipeline.output.sidecars import SEALS
from recast.pipeline.sources.inputs import Input


def sealed_rows(key: seal.Secret, row: Row, item: Input, result: Result | None) -> Iterator[SidecarRow]:
    """What was replaced in a published picture, and its name where the key hides it, sealed."""
    if item.alias:
        yield SEALS, {"key": row.key, "box": [], "sealed": seal.sealed_text(key, row.key, item.alias)}
    if result is None:
        return
    assert row.sha256 is not None
    for number, (box, original) in enumerate(result.originals):
        data = seal.sealed(key, row.key, row.sha256, box, original, number, len(result.originals))
        yield SEALS, {"key": row.key, "box": list(box), "sealed": data}
