"""Keys that say nothing: a keyed hash in place of each image's name, and the way back for who has the passcode.

File names hold people's names, and dates. Hidden, an input's key, source and fingerprint become hashes of what they
were; the seals beside each shard hold the names.
"""

import dataclasses
import hmac
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import PurePosixPath

from recast.pipeline import storage
from recast.pipeline.deidentify.secrets.seal import Secret, derived, opened_text, sealing_key
from recast.pipeline.images.inputs import Input
from recast.pipeline.output.seals import read_seals, sealed_stems

HEX_DIGITS = 32
"""Of a hidden key: 128 bits, so that no two names share one."""
MOST_ENDING = 6
"""A longer ending is no image format's, and is hidden with the name."""

Renames = Callable[[Iterator[Input], bool], Iterator[Input]]
"""A listing -> the same under other keys; the flag says whether this is a run, which may write, or only a look."""


def hiding(output: str, passcode: Secret) -> Renames:
    """From the source's names to hashes keyed by the output's own key."""

    def renamed(items: Iterator[Input], run: bool) -> Iterator[Input]:
        fs, path = storage.filesystem(output)
        secret = sealing_key(fs, path, passcode, fresh=run)
        key = derived(secret or Secret(os.urandom(32)), "names").reveal()
        return (_hidden(item, key) for item in items)

    return renamed


def revealing(output: str, key: Secret) -> Renames:
    """From the keys of a de-identified output back to the names that its seals hold, where they hold any."""

    def renamed(items: Iterator[Input], run: bool) -> Iterator[Input]:
        names = sealed_names(output, key)
        for item in items:
            yield dataclasses.replace(item, key=names[item.key], alias=item.key) if item.key in names else item

    return renamed


def sealed_names(output: str, key: Secret) -> Mapping[str, str]:
    """From key to name. Raises SealError if one was changed."""
    fs, path = storage.filesystem(output)
    names = {}
    for stem in sealed_stems(fs, path):
        for seal in read_seals(fs, path, stem):
            if not seal["box"]:
                names[seal["key"]] = opened_text(key, seal["key"], seal["sealed"])
    return names


def without_names(sentence: str, item: Input) -> str:
    """What is said of an input, in an index that hides its name."""
    if not item.alias:
        return sentence
    for telling in sorted({item.alias, PurePosixPath(item.alias).name, PurePosixPath(item.alias).stem}, key=len)[::-1]:
        sentence = sentence.replace(telling, "…") if telling else sentence
    return sentence


def _hidden(item: Input, key: bytes) -> Input:
    ending = PurePosixPath(item.key).suffix.lower()
    ending = ending if ending[1:].isalnum() and ending.isascii() and len(ending) <= MOST_ENDING else ""
    return dataclasses.replace(
        item,
        key=_hash(key, "key", item.key) + ending,
        source=f"hmac:{_hash(key, 'source', item.source)}",
        fingerprint=f"hmac:{_hash(key, 'fingerprint', item.fingerprint)}",
        alias=item.key,
    )


def _hash(key: bytes, of: str, text: str) -> str:
    return hmac.digest(key, f"{of}\n{text}".encode("utf-8", "surrogatepass"), "sha256").hex()[:HEX_DIGITS]
