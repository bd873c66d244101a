"""The short digests by which bundles, settings and data are told apart."""

import hashlib


def short_digest(data: bytes) -> str:
    """`sha256:` and the first 16 hex digits: enough to tell one's own things apart, and no proof against a forger."""
    return f"sha256:{hashlib.sha256(data).hexdigest()[:16]}"
