"""The launcher's config is what `ray up` takes; images install what is locked, and run as nobody special."""

import json
import re
from pathlib import Path

import jsonschema
import ray.autoscaler
import yaml

ROOT = Path(__file__).parents[2]


def test_ray_up_takes_the_config():
    schema = json.loads((Path(ray.autoscaler.__file__).parent / "ray-schema.json").read_text())
    config = yaml.safe_load((ROOT / "infra/cluster/aws.yaml").read_text())
    jsonschema.validate(config, schema)
    kinds = config["available_node_types"]
    assert kinds[config["head_node_type"]]["resources"] == {"CPU": 0}
    spot = [kind["node_config"].get("InstanceMarketOptions") for name, kind in kinds.items() if name != "head"]
    assert spot == [{"MarketType": "spot"}] * 2
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token" in commands[-1]


def test_images_are_pinned_small_and_unprivileged():
    files = sorted((ROOT / "infra/docker").glob("Dockerfile*"))
    assert files
    for file in files:
        lines = [line for line in file.read_text().splitlines() if line and not line.startswith("#")]
        images = [line.split()[1] for line in lines if line.startswith("FROM ")]
        assert all(":" in image and not image.endswith(":latest") for image in images)
        assert [line.split()[1] for line in lines if line.startswith("USER ")][-1] != "root"
        assert any(line.startswith("ENV PIP_NO_CACHE_DIR=1") for line in lines)
        text = file.read_text()
        for copied in re.findall(r"^COPY ((?:\S+ )+)\S+$", text, re.MULTILINE):
            assert all((ROOT / name).exists() for name in copied.split())
