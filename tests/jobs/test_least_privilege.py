"""What the documentation says a job must be allowed to do on S3 is enough, and no more than it does."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from recast.jobs.object_store import ObjectStore
from recast.pipeline import storage
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_road import image
from tests.s3_proxy import PolicyProxy, Request, actions

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
LIFE = """
import sys
from recast.jobs.cli import _status
from tests.conftest import bulk_runs_here
source, output, model = sys.argv[1:]
upscale = ["upscale", source, output, "--model", model, "--actors", "1", "--shard-images", "2"]
with bulk_runs_here():
    assert _status(upscale) == 0
    assert _status([*upscale, "--exclude", "0.png"]) == 0
for command in (["index", "verify", output], ["index", "compact", output], ["report", output]):
    assert _status(command) == 0, command
"""


def documented(source: str, output: str) -> dict:
    """The policy of the documentation, for these two buckets."""
    (text,) = re.findall(r"```json\n(.*?)```", OPERATIONS.read_text(), re.DOTALL)
    for name, bucket in (("source", source), ("output", output)):
        text = text.replace(f"arn:aws:s3:::{name}", f"arn:aws:s3:::{bucket.removeprefix('s3://')}")
    return json.loads(text)


def test_a_jobs_life_needs_what_the_documented_policy_allows(tmp_path, object_store: ObjectStore, bucket):
    """A run, another one, a check, a compaction and a report, behind a proxy that refuses everything else."""
    source, output = f"{bucket}-source", f"{bucket}-output"
    for url in (source, output):
        object_store.make_bucket(url.removeprefix("s3://"))
    for n in range(5):
        image(tmp_path / f"in/{n}.png", n)
    fs, path = storage.filesystem(source)
    fs.put(f"{tmp_path}/in/", path, recursive=True)
    policy = documented(source, output)
    command = [sys.executable, "-c", LIFE, source, output, upscaler(tmp_path / "bundle")]
    with PolicyProxy(object_store.endpoint, policy) as proxy:
        with dataclasses.replace(object_store, endpoint=proxy.endpoint).exported():
            done = subprocess.run(command, capture_output=True, text=True, timeout=200)
        assert (done.returncode, proxy.refused) == (0, []), done.stderr
    given_up = {"s3:AbortMultipartUpload"}  # an upload that fails half way
    assert {action for action, _ in proxy.allowed - proxy.used} == given_up


def test_what_a_policy_leaves_out_is_refused_in_a_sentence(tmp_path, object_store: ObjectStore, bucket):
    policy = documented(bucket, f"{bucket}-output")
    command = [sys.executable, "-m", "recast", "upscale", bucket, f"{bucket}-elsewhere"]
    proxy = PolicyProxy(object_store.endpoint, policy)
    with proxy, dataclasses.replace(object_store, endpoint=proxy.endpoint).exported():
        done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    assert proxy.refused
    assert "Traceback" not in done.stderr
    assert f"{bucket}-elsewhere" in done.stderr


@pytest.mark.parametrize(
    ("request_", "needs"),
    [
        (("GET", "/b?list-type=2&prefix=a%2Fb"), [("s3:ListBucket", "arn:aws:s3:::b")]),
        (("HEAD", "/b/k%20y"), [("s3:GetObject", "arn:aws:s3:::b/k y")]),
        (("POST", "/b/k?uploads="), [("s3:PutObject", "arn:aws:s3:::b/k")]),
        (("DELETE", "/b/k?uploadId=1"), [("s3:AbortMultipartUpload", "arn:aws:s3:::b/k")]),
    ],
)
def test_requests_are_known_by_their_actions(request_, needs):
    assert actions(Request(*request_, copied_from="", body=b"")) == needs
    copy = Request("PUT", "/b/k", copied_from="c/k", body=b"")
    assert actions(copy) == [("s3:GetObject", "arn:aws:s3:::c/k"), ("s3:PutObject", "arn:aws:s3:::b/k")]
    several = Request("POST", "/b?delete", copied_from="", body=b"<Key>a</Key><Key>b</Key>")
    assert actions(several) == [("s3:DeleteObject", "arn:aws:s3:::b/a"), ("s3:DeleteObject", "arn:aws:s3:::b/b")]
