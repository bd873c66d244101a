"""The local object store: what is said where its server can't be started."""

import pytest

from recast.jobs import object_store
from recast.jobs.object_store import ObjectStoreError, local_object_store

BROKEN = "2026/11/25 07:00:00 CRITICAL: Failed to s3: mkdir /x: read-only file system" + 50 * " and so on" + "\\n"
OLD = 'Error: unknown command "s3" for "rclone serve"\\nUsage:\\n  rclone serve [flags]\\n'


@pytest.mark.parametrize(
    ("program", "says", "quotes"),
    [
        (
            f"printf '{BROKEN}' >&2; exit 1",
            "could not start (status 1); see that the folder can be written to",
            "CRITICAL: Failed to s3: mkdir /x: read-only",
        ),
        (
            f"printf '{OLD}' >&2; exit 2",
            "is of a version that can't serve S3; get a newer one with `pip install",
            'Error: unknown command "s3" for "rclone serve")',
        ),
        (
            "echo 'Fatal error: listen: bind: address already in use'; exit 1",
            "another program has just taken; try",
            "Fatal error: listen: bind: address already in use)",
        ),
        ("sleep 60", "does not answer after 1 s", ""),
        ("exit 3", "could not start (status 3)", ""),
    ],
)
def test_a_server_that_does_not_start_gets_a_sentence_of_ours(tmp_path, monkeypatch, program, says, quotes):
    """What is wrong and what to do; the server's own words come last, and are few."""
    rclone = tmp_path / "rclone"
    rclone.write_text(f"#!/bin/sh\n{program.replace('sleep', 'exec sleep')}\n")
    rclone.chmod(0o755)
    monkeypatch.setattr(object_store, "_rclone", lambda: str(rclone))
    monkeypatch.setattr(object_store, "START_S", 1.0 if "sleep" in program else 30.0)
    with pytest.raises(ObjectStoreError) as caught, local_object_store(tmp_path / "buckets"):
        pass
    sentence, _, quoted = str(caught.value).partition(" (it says: ")
    assert says in sentence
    assert sentence.endswith(f"its log is {tmp_path}/buckets.log")
    assert "\n" not in str(caught.value)
    assert quoted.startswith(quotes)
    assert bool(quoted) == bool(quotes)
    assert len(quoted) <= object_store.QUOTED + 2
