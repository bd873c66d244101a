"""What must be in an output, and what must come back from it, once a command has run to its end."""

import contextlib
import dataclasses
import io
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from recast.pipeline.deidentify.secrets.seal import SealError
from recast.pipeline.evaluation.integrity import verify
from tests.pipeline.protocol import archive, reader
from tests.pipeline.protocol.archive import image, restoration
from tests.pipeline.protocol.invocation import at, output, run
from tests.pipeline.protocol.store import Bucket

Amiss = Callable[[Bucket], Iterator[str]]
"""What is wrong, in sentences."""
ALL = (*archive.FILES, "broken.png", *(f"p.tar/{name}" for name in archive.PACKED))
LISTED = (*archive.FILES[:2], "broken.png", "c.png", "p.tar/f.png", "p.tar/g.png", "d/e.png")
"""The same, as a source is listed: the files of a folder, then the folders in it."""


def shaded(data: bytes, by: int) -> np.ndarray:
    return 255 - by - np.asarray(Image.open(io.BytesIO(data))) // 2


def pixels(reading: reader.Reading, row: Mapping[str, Any]) -> np.ndarray | None:
    """A row's image, decoded; None if it can't be."""
    try:
        return np.asarray(Image.open(io.BytesIO(reading.bytes_of(row))))
    except (OSError, KeyError):
        return None


def annotated(*, drawn: bool = False, changed: tuple[str, ...] = ()) -> Amiss:
    """Exactly all keys, each with the regions of its own image, an empty list where nothing was found; with bytes only
    where there are drawings."""

    def amiss(bucket: Bucket) -> Iterator[str]:
        reading = output(bucket)
        yield from reader.unsound(reading)
        rows = reading.current()
        yield from (f"{key} should {'not ' * (key in rows)}be there" for key in set(rows) ^ set(ALL))
        for key, row in rows.items():
            if (row["status"] == "ok") == (key == "broken.png"):
                yield f"{key} is {row['status']}"
            elif row["status"] == "ok":
                data = image(f"{key} changed") if key in changed else image(key.removeprefix("p.tar/"))
                found = archive.Sums()([np.asarray(Image.open(io.BytesIO(data)))])[0]
                if row["regions"] is None or [tuple(each["box"]) for each in row["regions"]] != [r.box for r in found]:
                    yield f"{key} has other regions than those of its image"
                if (row["length"] is not None) != drawn:
                    yield f"{key} has {'no ' * drawn}bytes"
        yield from verified(bucket)

    return amiss


def sound(
    keys: tuple[str, ...] = ALL, *, by: int = 0, changed: tuple[str, ...] = (), tidy: bool = False,
    failed: tuple[str, ...] = ("broken.png",),
) -> Amiss:  # fmt: skip
    """Exactly these keys, all `ok` but for those that failed, each with the pixels that its source makes."""

    def amiss(bucket: Bucket) -> Iterator[str]:
        reading = output(bucket)
        yield from reader.unsound(reading, tidy=tidy)
        rows = reading.current()
        yield from (f"{key} should {'not ' * (key in rows)}be there" for key in set(rows) ^ set(keys))
        for key, row in rows.items():
            if (row["status"] == "ok") == (key in failed):
                yield f"{key} is {row['status']}"
            elif row["status"] == "ok":
                data = image(f"{key} changed") if key in changed else image(key.removeprefix("p.tar/"))
                if not np.array_equal(pixels(reading, row), shaded(data, by)):
                    yield f"{key} has the pixels of something else"
        yield from verified(bucket)

    return amiss


def in_order(bucket: Bucket) -> Iterator[str]:
    """Sound, and laid out as the source is listed, whatever was done first."""
    yield from sound()(bucket)
    yield from reader.disordered(output(bucket), LISTED)


def verified(bucket: Bucket) -> Iterator[str]:
    """What the product's own check finds."""
    found: list[str] = []
    at(bucket, "verify", lambda: found.extend(verify(archive.OUTPUT).faults))
    yield from found


def restorable(
    keys: tuple[str, ...] = ALL, *, changed: tuple[str, ...] = (), tidy: bool = False, hidden: bool = False,
    passcode: archive.Secret = archive.PASSCODE,
) -> Amiss:  # fmt: skip
    """Every region sealed exactly once, and every original exactly as it was once it is restored."""

    def amiss(bucket: Bucket) -> Iterator[str]:
        reading = output(bucket)
        yield from reader.unsound(reading, sealed=True, tidy=tidy)
        if len(reading.current()) != len(keys):
            yield f"there are {len(reading.current())} rows of {len(keys)} inputs"
        if not hidden:
            yield from (f"{key} is missing or too much" for key in set(reading.current()) ^ set(keys))
        yield from verified(bucket)
        trial = dataclasses.replace(bucket, blobs=dict(bucket.blobs), gone=set(bucket.gone))
        at(trial, "restore", lambda: run(*restoration(passcode)))
        back = reader.read(trial.below("b/back"))
        yield from reader.unsound(back)
        rows = {key: row for key, row in back.current().items() if row["status"] == "ok"}
        yield from (f"{key} did not come back" for key in set(keys) - {"broken.png"} ^ set(rows))
        for key, row in rows.items():
            data = image(f"{key} changed") if key in changed else image(key.removeprefix("p.tar/"))
            original = np.asarray(Image.open(io.BytesIO(data)))
            if not np.array_equal(pixels(back, row), original):
                yield f"{key} did not come back as it was"

    return amiss


def one_passcode_opens(bucket: Bucket) -> Iterator[str]:
    for passcode in (archive.PASSCODE, archive.OTHER_PASSCODE):
        with contextlib.suppress(SealError):
            trial = dataclasses.replace(bucket, blobs=dict(bucket.blobs), gone=set(bucket.gone))
            at(trial, "look", lambda passcode=passcode: restoration(passcode))
            return
    yield "neither passcode opens the seals"


def restored(bucket: Bucket) -> Iterator[str]:
    yield from reader.unsound(reader.read(bucket.below("b/back")))
    yield from restorable()(bucket)
