"""Which manifests a person's own runs wrote, on this machine: others' may not choose what a report opens.

A report shows pictures of the source beside results, and rows of the index say where they lie. In somebody else's
output they may name any file or address. So a manifest carries a mark that only the holder of a key can make.
"""

import contextlib
import hmac
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

KEY_BYTES = 32


def mark(run: str, output: str, sources: Sequence[str]) -> str:
    """What only this person on this machine can write under a run; empty where no key can be kept."""
    key = _key()
    if not key:
        return ""
    return hmac.digest(key, json.dumps(["recast-run", run, output, list(sources)]).encode(), "sha256").hex()


def is_own(found: object, run: str, output: str, sources: Sequence[str]) -> bool:
    """Whether a mark is the one that this person's run wrote."""
    expected = mark(run, output, sources)
    return bool(expected) and isinstance(found, str) and hmac.compare_digest(expected, found)


def _key() -> bytes:
    """The key, made at its first use; empty where there is no place for it."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    path = Path(os.path.expanduser(state)) / "recast" / "witness.key"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with contextlib.suppress(FileExistsError):
            _write(path)
        key = path.read_bytes()
    except (OSError, RuntimeError):
        return b""
    return key if len(key) == KEY_BYTES else b""


def _write(path: Path) -> None:
    """The whole key or none: two commands may begin at once."""
    if path.exists():
        return
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        os.link(part, path)
    finally:
        part.unlink(missing_ok=True)
