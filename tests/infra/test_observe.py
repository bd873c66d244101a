"""Dashboard and alerts ask for exactly the metrics that the code has."""

import ast
import json
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
OBSERVE = ROOT / "infra/observe"
NAME = re.compile(r"\b(?:ray_)?recast_[a-z_]+\b")
SCHEDULES = "jobs/schedules/local.py"


def exported() -> set[str]:
    """As Prometheus sees them: Ray puts `ray_` before names, and `_total` after counters."""
    found = set()
    for path in (ROOT / "pipeline").rglob("metrics.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("Counter", "Gauge"):
                ending = "_total" if node.func.id == "Counter" else ""
                found.add(f"ray_{ast.literal_eval(node.args[0])}{ending}")
    return found | set(re.findall(r'"(recast_schedule_\w+_\w+)"', (ROOT / SCHEDULES).read_text()))


def asked(expressions) -> set[str]:
    return {name for expression in expressions for name in NAME.findall(expression)}


def test_the_dashboard_shows_every_metric_and_no_other():
    board = json.loads((OBSERVE / "grafana-dashboard.json").read_text())
    expressions = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    given = exported()
    assert len(given) >= 12
    assert asked(expressions) <= given
    assert given - asked(expressions) <= {"recast_schedule_last_run_timestamp_seconds"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in board["panels"]]
    assert len(set(places)) == len(places)


def test_alerts_watch_metrics_that_there_are():
    groups = yaml.safe_load((OBSERVE / "alerts.yaml").read_text())["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    assert asked(rule["expr"] for rule in rules) <= exported()
    assert {"RecastJobStalled", "RecastFailures", "RecastHeld", "RecastNoSuccessfulRun"} <= {r["alert"] for r in rules}
    for rule in rules:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["expr"].count("(") == rule["expr"].count(")")
