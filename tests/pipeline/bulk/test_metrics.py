"""Metrics: what Prometheus scrapes from Ray's endpoint says what the run did."""

import re
import time
import urllib.request

import ray

from recast.pipeline.bulk import road
from recast.pipeline.progress import Silent
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.bulk.test_road import image, job

PATIENCE_S = 60
"""Ray sends metrics on every ten seconds."""


def scraped(output: str) -> dict[str, float]:
    """Samples of one output: `recast_images_total ok` -> value, whatever the other tags."""
    port = ray.nodes()[0]["MetricsExportPort"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        lines = [line for line in page.read().decode().splitlines() if f'output="{output}"' in line]
    found = {}
    for line in lines:
        name, tags, value = re.match(r"ray_(\w+)\{(.*)\} (\S+)", line).groups()
        about = "".join(re.findall(r'(?:status|direction|stage)="(\w+)"', tags))
        found[f"{name} {about}".strip()] = float(value)
    return found


def test_a_runs_counts_reach_the_metrics_endpoint(tmp_path, ray_local):
    for n in range(6):
        image(tmp_path / "in" / f"{n}.png", n)
    (tmp_path / "in/bad.png").write_bytes(b"bad")
    asked = job(tmp_path / "in", tmp_path / "out", upscaler(tmp_path / "bundle"))
    summary = road.run(asked, Silent())
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        found = scraped(asked.output)
        if found.get("recast_images_total failed"):
            break
        time.sleep(1)
    assert found["recast_images_total ok"] == summary.ok == 6
    assert found["recast_images_total failed"] == 1
    assert found["recast_bytes_total written"] == summary.bytes_written
    assert found["recast_shards_total"] == summary.shards
    assert found["recast_stage_seconds_total generate"] > 0
    assert found["recast_inputs_left"] == 0
    assert found["recast_actors"] >= 1
