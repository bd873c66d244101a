"""The settings of a de-identification in words, for a reviewer who has never seen them."""

from collections.abc import Mapping
from typing import Any

from recast.pipeline.wording import percent, plainly

POLICY = (
    *(
        "detectors",
        "scales",
        "smallest_face",
        "mirrored",
        "threshold",
        "doubt",
        "most_regions",
        "without",
        "sample_share",
    ),
    *("method", "shape", "margin", "strength", "consistent_by", "seal", "names"),
)
"""Settings of the job that a reviewer asks about, in this order."""


def policy_in_words(policy: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What settings mean, each with what it is about; those that a version doesn't know are left out."""
    said = [
        ("Looks with", _detectors(policy)),
        ("Replaces", _replaces(policy)),
        ("Holds back", _holds(policy)),
        ("Finds nothing", _without(policy)),
        ("Puts in place", _method(policy)),
        ("Originals", {True: "kept, encrypted under a passcode", False: "not kept"}.get(policy.get("seal", None), "")),
        ("Names", "hidden, as keyed hashes" if policy.get("names") == "hmac" else "as in the source"),
    ]
    return [(about, words) for about, words in said if words]


def _detectors(policy: Mapping[str, Any]) -> str:
    names = [str(name) for name in policy.get("detectors") or ()]
    if not names or names == ["none"]:
        return "boxes of the user's own alone" if names else ""
    scales = [plainly(scale) for scale in policy.get("scales") or () if isinstance(scale, (int, float))]
    at = f", at {' and '.join(scales)} of each image's size" if scales and scales != ["1"] else ""
    smallest = policy.get("smallest_face")
    if not scales and isinstance(smallest, (int, float)):
        at = f", for faces of {plainly(smallest)} px and more"
    return " and ".join(names) + at + (", and at mirror images" if policy.get("mirrored") is True else "")


def _replaces(policy: Mapping[str, Any]) -> str:
    threshold = policy.get("threshold")
    return f"what scores {plainly(threshold)} or more, of 1" if isinstance(threshold, (int, float)) else ""


def _holds(policy: Mapping[str, Any]) -> str:
    reasons = []
    if isinstance(doubt := policy.get("doubt"), (int, float)):
        reasons.append(f"something that scores at least {plainly(doubt)}, but not enough to be replaced")
    if isinstance(most := policy.get("most_regions"), int):
        reasons.append(f"more than {most:,} regions")
    return f"images with {' or with '.join(reasons)}, and such as can\u2019t be looked at" if reasons else ""


def _without(policy: Mapping[str, Any]) -> str:
    share = policy.get("sample_share")
    sampled = percent(share) if isinstance(share, (int, float)) else "some"
    words = {
        "publish": "the image is published as it is",
        "hold": "the image is held back",
        "sample": f"the image is published as it is, but {sampled} of such images are held back for a look",
    }
    return words.get(str(policy.get("without")), "")


def _method(policy: Mapping[str, Any]) -> str:
    how = {"solid": "black", "pixelate": "a few blocks", "blur": "a blur"}.get(str(policy.get("method")), "")
    if not how:
        return ""
    strength, margin = policy.get("strength"), policy.get("margin")
    if how != "black" and isinstance(strength, (int, float)):
        how += f" of strength {plainly(strength)}"
    shapes = {
        "ellipse": "an ellipse",
        "box": "a rectangle",
        "auto": "an ellipse, or a rectangle for the user's own boxes",
    }
    shape = shapes.get(str(policy.get("shape")), "a shape")
    larger = f", {percent(margin)} larger than what was found" if isinstance(margin, (int, float)) and margin else ""
    return f"{how}, in {shape}{larger}"
