"""The headings of help pages, decided here for all commands: which commands and options stand below which."""

from cyclopts import Argument, Group

JOBS = Group("Jobs", sort_key=0)
RESULTS = Group("Results", sort_key=1)
CLUSTERS = Group("Clusters and schedules", sort_key=2)
OTHERS = Group("Models, samples and set-up", sort_key=3)
ARGUMENTS = Group("Arguments", sort_key=0)
OPTIONS = Group("Options", sort_key=1)
"""What is a command's own: options that no other heading claims."""
GROUPS: dict[Group, tuple[str, ...]] = {
    Group("Training", sort_key=2): (
        "preset", "steps", "stop_after", "overrides", "seed", "start_from", "loss_network", "resume_with",
    ),
    Group("Detection", sort_key=2): ("detectors", "kinds", "scales", "smallest_face", "mirrored", "boxes"),
    Group("Replacement", sort_key=3): ("method", "shape", "margin", "strength", "consistent_by"),
    Group("Policy", sort_key=4): ("threshold", "doubt", "most_regions", "without", "sample_share"),
    Group("Secrets", sort_key=5): ("seal", "names", "passcode_file", "passcode_env"),
    Group("Model", sort_key=6): ("model", "models", "draw", "draw_above", "scale", "size", "noise"),
    Group("Input", sort_key=7): (
        "data", "data_a", "data_b", "validate", "annotations", "faces", "inputs", "style_image", "also", "include",
        "exclude", "schemes", "limit", "max_pixels", "max_input_bytes",
    ),
    Group("Result", sort_key=8): (
        "output", "format", "quality", "metadata", "provenance", "shards", "shard_images", "shard_bytes", "replace",
        "prune", "checkpoint_every", "keep_checkpoints", "bundle_precision",
    ),
    Group("Failures", sort_key=9): ("max_failed", "retry_failed"),
    Group("Machine", sort_key=10): (
        "on", "device", "actors", "workers", "gpus_per_worker", "batch_size", "accumulate", "precision",
        "sync_batchnorm", "compile",
    ),
    Group("Command", sort_key=11): ("config", "dry_run", "preview", "as_json"),
}  # fmt: skip
"""The headings in their order, and under each the fields of settings that are its options."""
_BY_FIELD = {field: (group, place) for group, names in GROUPS.items() for place, field in enumerate(names)}
PLACEHOLDERS = {
    "address": "URL", "also": "SOURCE", "annotations": "TABLE", "boxes": "TABLE", "config": "FILE", "cron": "TIME",
    "data": "URL", "data_a": "URL", "data_b": "URL", "detector": "DETECTOR", "detectors": "DETECTOR",
    "exclude": "GLOB", "faces": "TABLE",
    "folder": "FOLDER", "include": "GLOB", "inputs": "NAME=PLACE", "loss_network": "FILE", "lpips_weights": "FILE",
    "kinds": "KINDS", "max_input_bytes": "SIZE", "model": "BUNDLE", "models": "BUNDLE", "name": "NAME",
    "new_passcode_env": "VARIABLE",
    "new_passcode_file": "FILE", "output": "URL", "overrides": "KEY=VALUE", "passcode_env": "VARIABLE",
    "passcode_file": "FILE", "preset": "NAME", "recognizer": "BUNDLE", "restored": "OUTPUT", "restored_wrong": "OUTPUT",
    "scales": "FACTOR", "schemes": "KIND", "shard_bytes": "SIZE", "signed_off_by": "NAME", "source": "SOURCE",
    "start_from": "BUNDLE", "style_image": "IMAGE", "to": "FILE", "truth": "FILE",
    "validate": "SHARE|URL",
}  # fmt: skip
"""What stands for the value of an option, by its field; for others the kind of value does, such as INT."""


def heading(argument: Argument) -> Group:
    """The heading of an option or argument; small commands, whose options are no settings, have but two."""
    if argument.index is not None:
        return ARGUMENTS
    return _BY_FIELD.get(argument.field_info.name, (OPTIONS, 0))[0] if argument.keys else OPTIONS


def place(argument: Argument) -> int:
    """The place of an option below its heading; those that no heading claims come first."""
    return _BY_FIELD.get(argument.field_info.name, (OPTIONS, 0))[1] if argument.keys else 0
