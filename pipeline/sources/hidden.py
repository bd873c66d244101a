"""What may be said of an input whose name must not show: nothing that came with it."""

from collections.abc import Sequence
from typing import Any

from recast.pipeline import storage
from recast.pipeline.input_errors import HeldError, InputError
from recast.pipeline.sources.inputs import Input

MARK = "hmac:"
"""What a hidden address begins with."""
KINDS = frozenset({
    "address", "animal", "arm", "badge", "barcode", "bicycle", "body", "building", "bus", "car", "cat", "child",
    "credit_card", "date", "document", "dog", "driver", "ear", "email", "eye", "eyes", "face", "foot", "hair",
    "hand", "handwriting", "head", "house_number", "id_card", "iris", "leg", "license_plate", "licence_plate",
    "logo", "mouth", "motorcycle", "name", "nose", "number_plate", "object", "other", "passport", "people",
    "person", "phone_number", "plate", "qr_code", "region", "scar", "screen", "sign", "signature", "skin", "stamp",
    "tattoo", "text", "torso", "truck", "uniform", "vehicle", "window",
})  # fmt: skip
"""What a region may be called where names are hidden: words that are nobody's name."""
SENTENCES = {
    "corrupt": "the image can't be decoded",
    "crash": "processes died while this image was in hand, and it alone",
    "duplicate-member": "its archive holds this name more than once; the first one counts",
    "empty": "the file has no bytes",
    "encoder": "the output's format can't hold this image",
    "encrypted": "the archive member is encrypted",
    "generator": "a detector or the replacement failed on it",
    "missing": "nothing lies where the inventory says",
    "name-too-long": "its result's name would be longer than storage allows",
    "no-uri": "the inventory's row names no image",
    "not-a-file": "the archive member is a link, a device or a sparse file, which are never followed",
    "not-an-archive": "it is not the archive that its name says",
    "not-an-image": "no image format claims its bytes",
    "too-large": "it is larger than the limits allow",
    "truncated": "it ends early",
    "unsafe-name": "its name leads outside",
    "unsupported": "it is of a kind that is not read",
}
"""What is said of faults of inputs whose names are hidden: nothing that came with the input."""
UNSAID = "more is not said, since it could tell its name"


def is_hidden(item: Input) -> bool:
    """Whether an input's name must not show."""
    return item.source.startswith(MARK)


def sentence_of(fault: InputError, item: Input) -> str:
    """What is said of an input's fault; where its name is hidden, in words that are the same for all of that kind.

    What a policy holds is said as ever: such sentences are about pixels, scores and limits, and never quote.
    """
    if not is_hidden(item) or isinstance(fault, HeldError):
        return fault.sentence
    return SENTENCES.get(fault.kind, UNSAID)


def storage_sentence_of(fault: BaseException, item: Input) -> str:
    """What is said of storage that did not give an input; where its name is hidden, without what the storage said."""
    if not is_hidden(item):
        return storage.sentence(fault)
    known = {FileNotFoundError: "no such file", PermissionError: "permission denied", TimeoutError: "no answer in time"}
    plain = next((words for kind, words in known.items() if isinstance(fault, kind)), type(fault).__name__)
    return f"{plain}; {UNSAID}"


def without_names(regions: Sequence[dict[str, Any]], item: Input) -> list[dict[str, Any]]:
    """Regions as the index tells of them; where names are hidden, with kinds that are nobody's name and no tracks."""
    if not is_hidden(item):
        return list(regions)
    return [{**region, "kind": _kind(region["kind"]), "track": None} for region in regions]


def _kind(kind: str) -> str:
    return kind if "_".join(kind.lower().replace("-", " ").replace("_", " ").split()) in KINDS else "other"
