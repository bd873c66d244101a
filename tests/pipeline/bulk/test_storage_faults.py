"""A tenth of all requests to storage goes wrong, and the run ends as if none had."""

import dataclasses
import subprocess
import sys

import numpy as np
from PIL import Image

from recast.jobs.object_store import ObjectStore
from recast.pipeline import storage
from recast.pipeline.bulk import road
from recast.pipeline.evaluation.integrity import verify
from recast.pipeline.progress import Silent
from tests.conftest import bulk_runs_here
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_chaos import orphans, settled
from tests.pipeline.bulk.test_road import job
from tests.s3_proxy import FlakyProxy


def test_errors_cuts_and_stalls_of_a_tenth_of_requests_change_nothing(tmp_path, object_store: ObjectStore, bucket):
    model = upscaler(tmp_path / "bundle")
    fs, path = storage.filesystem(f"{bucket}/in")
    (tmp_path / "in").mkdir()
    for n in range(40):
        pixels = np.random.default_rng(n).integers(0, 256, (30, 20 + n, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / f"{n:02}.png")
    fs.put(f"{tmp_path}/in/", path, recursive=True)
    with bulk_runs_here():
        road.run(job(tmp_path / "in", tmp_path / "calm", model), Silent())
    command = [sys.executable, "-m", "recast", "upscale", "--model", model, "--shard-images", "4"]
    with FlakyProxy(object_store.endpoint, share=0.1, stall_s=2.0) as proxy:
        tired = dataclasses.replace(object_store, endpoint=proxy.endpoint)
        with tired.exported():
            subprocess.run([*command, f"{bucket}/in", f"{bucket}/out"], check=True, timeout=400)
    wrong = {fate: count for fate, count in proxy.done.items() if fate != "forward"}
    assert len(wrong) == 5, proxy.done
    calm, view = settled(f"{tmp_path}/calm"), settled(f"{bucket}/out")
    assert {k: (r[1], r[4]) for k, r in view.items()} == {k: (r[1], r[4]) for k, r in calm.items()}
    assert verify(f"{bucket}/out").faults == []
    assert orphans(f"{bucket}/out") == set()
