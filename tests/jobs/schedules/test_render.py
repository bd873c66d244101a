"""The files of a schedule are what their readers take: Kubernetes' own schemas, KubeRay's fields, Airflow's Python."""

import ast
import json
import shlex
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from recast.jobs import cli, exit_status
from recast.jobs.schedules.render import RENDERERS, Place
from recast.jobs.schedules.schedule import Schedule, ScheduleError, named_after

ROOT = Path(__file__).parents[3]
KUBERNETES = "1.33"
COMMAND = (
    "deidentify", "s3://in/photos", "s3://out/faceless", "--method", "blur", "--boxes", "it's 100% $HOME.csv",
    "--seal", "--passcode-file", "/var/run/secrets/recast/passcode",
)  # fmt: skip
NIGHTLY = Schedule(name="nightly", cron="0 2 * * *", command=COMMAND)
PLACE = Place(
    image="registry/recast:1", namespace="privacy", passcode_secret="p", storage_secret="s", gpu_workers=(0, 2)
)

RAY_CLUSTER = {
    "authOptions": dict, "autoscalerOptions": dict, "enableInTreeAutoscaling": bool, "gcsFaultToleranceOptions": dict,
    "headGroupSpec": dict, "headServiceAnnotations": dict, "managedBy": str, "rayVersion": str, "suspend": bool,
    "upgradeStrategy": dict, "workerGroupSpecs": list,
}  # fmt: skip
RAY_JOB = {
    "activeDeadlineSeconds": int, "backoffLimit": int, "clusterSelector": dict, "deletionStrategy": dict,
    "entrypoint": str, "entrypointNumCpus": float, "entrypointNumGpus": float, "entrypointResources": str,
    "jobId": str, "managedBy": str, "metadata": dict, "rayClusterSpec": dict, "runtimeEnvYAML": str,
    "shutdownAfterJobFinishes": bool, "submissionMode": str, "submitterConfig": dict, "submitterPodTemplate": dict,
    "suspend": bool, "ttlSecondsAfterFinished": int,
}  # fmt: skip
RAY_CRON_JOB = {"jobTemplate": dict, "schedule": str, "suspend": bool, "timeZone": str}
HEAD = {
    "enableIngress": bool, "headService": dict, "labels": dict, "rayStartParams": dict, "resources": dict,
    "serviceType": str, "template": dict,
}  # fmt: skip
WORKERS = {
    "groupName": str, "idleTimeoutSeconds": int, "labels": dict, "maxReplicas": int, "minReplicas": int,
    "numOfHosts": int, "rayStartParams": dict, "replicas": int, "resources": dict, "scaleStrategy": dict,
    "suspend": bool, "template": dict,
}  # fmt: skip
"""The fields of KubeRay's CRDs (v1), and their types."""


def check_fields(given, known, *required):
    assert set(required) <= set(given)
    for name, value in given.items():
        assert name in known, name
        assert isinstance(value, known[name]), name


def check_pod(template):
    spec = {**template["spec"], "restartPolicy": template["spec"].get("restartPolicy", "Always")}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", **template.get("metadata", {})}, "spec": spec}
    kubernetes_validate.validate(pod, KUBERNETES, strict=True)
    mounted = {mount["name"] for container in spec["containers"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}
    assert spec["securityContext"]["runAsNonRoot"]


def check_cluster(spec):
    check_fields(spec, RAY_CLUSTER, "headGroupSpec")
    check_fields(spec["headGroupSpec"], HEAD, "template")
    assert all(isinstance(value, str) for value in spec["headGroupSpec"]["rayStartParams"].values())
    check_pod(spec["headGroupSpec"]["template"])
    assert spec["workerGroupSpecs"]
    for group in spec["workerGroupSpecs"]:
        check_fields(group, WORKERS, "groupName", "maxReplicas", "minReplicas", "template")
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
        check_pod(group["template"])


def check(document):
    """One object, by the rules of its kind."""
    kind, spec = document["kind"], document.get("spec")
    if kind == "RayCronJob":
        check_fields(spec, RAY_CRON_JOB, "schedule", "jobTemplate")
        kind, spec = "RayJob", spec["jobTemplate"]
    if kind == "RayJob":
        assert document["apiVersion"] == "ray.io/v1"
        check_fields(spec, RAY_JOB, "entrypoint", "rayClusterSpec")
        return check_cluster(spec["rayClusterSpec"])
    if kind == "RayCluster":
        return check_cluster(spec)
    kubernetes_validate.validate(document, KUBERNETES, strict=True)
    if kind == "CronJob":
        check_pod(spec["jobTemplate"]["spec"]["template"])
    if kind == "ConfigMap":
        check(yaml.safe_load(document["data"]["rayjob.yaml"]))
    return None


@pytest.mark.parametrize("target", ["kubernetes", "raycronjob", "rayjob"])
def test_kubernetes_files_are_what_kubernetes_takes(target):
    (text,) = RENDERERS[target](NIGHTLY, PLACE).values()
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        check(document)
    kinds = {document["kind"]: document for document in documents}
    if target == "kubernetes":
        cron = kinds["CronJob"]["spec"]
        assert (cron["schedule"], cron["concurrencyPolicy"]) == ("0 2 * * *", "Forbid")
        job = yaml.safe_load(kinds["ConfigMap"]["data"]["rayjob.yaml"])
        verbs = kinds["Role"]["rules"][0]["verbs"]
        assert {"create", "get"} <= set(verbs)
    else:
        job = documents[0] if target == "rayjob" else {"spec": documents[0]["spec"]["jobTemplate"]}
        assert ("alpha" in text) == (target == "raycronjob")
    assert shlex.split(job["spec"]["entrypoint"]) == ["python", "-m", "recast", *COMMAND]
    cluster = job["spec"]["rayClusterSpec"]
    assert [group["groupName"] for group in cluster["workerGroupSpecs"]] == ["cpu", "gpu"]
    assert cluster["authOptions"] == {"mode": "token"}
    gpu = cluster["workerGroupSpecs"][1]["template"]["spec"]
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert [secrets(pod) for pod in (head, gpu)] == [{"passcode": "p", "storage": "s"}, {"storage": "s"}]


def secrets(pod):
    return {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}


def test_systemds_files_say_what_and_when():
    files = RENDERERS["systemd"](NIGHTLY, Place())
    service, timer = files["recast-nightly.service"], files["recast-nightly.timer"]
    (line,) = [line for line in service.splitlines() if line.startswith("ExecStart=")]
    words = shlex.split(line.removeprefix("ExecStart=").replace("%%", "%").replace("$$", "$"))
    assert words == ["/usr/bin/env", "recast", *COMMAND]
    assert "OnCalendar=*-*-* 2:0:00" in timer
    assert "Persistent=true" in timer


def test_airflows_file_is_python_that_runs_one_at_a_time():
    ((name, text),) = RENDERERS["airflow"](NIGHTLY, Place()).items()
    tree = ast.parse(text)
    assert name == "recast_nightly.py"
    (command,) = [n.value for n in ast.walk(tree) if isinstance(n, ast.Assign) and n.targets[0].id == "COMMAND"]
    assert tuple(ast.literal_eval(command)) == COMMAND
    assert {k.arg: ast.literal_eval(k.value) for n in ast.walk(tree) if isinstance(n, ast.Call) for k in n.keywords
            if k.arg in ("max_active_runs", "catchup", "schedule")} == {
        "max_active_runs": 1, "catchup": False, "schedule": "0 2 * * *"}  # fmt: skip


def test_what_infra_holds_is_what_recast_writes_and_kubernetes_takes():
    """Each file begins with the command that makes it anew."""
    files = sorted((ROOT / "infra/kuberay").glob("*.yaml"))
    assert len(files) >= 5
    for file in files:
        text = file.read_text()
        for document in yaml.safe_load_all(text):
            check(document)
        first = text.splitlines()[0]
        if first.startswith("# recast schedule render "):
            made = rendered(shlex.split(first.removeprefix("# recast ")))
            assert text == f"{first}\n{made}", file.name


def rendered(words):
    import contextlib
    import io

    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert cli._status(words) == 0
    return out.getvalue()


def test_names_follow_from_the_job():
    assert named_after(COMMAND) == "deidentify-faceless"
    assert named_after(("upscale", "in", "/data/My Photos/")) == "upscale-my-photos"
    with pytest.raises(ScheduleError, match="can't be a schedule's name"):
        Schedule(name="Nightly!", cron="@daily", command=COMMAND)


def test_a_command_that_makes_no_sense_is_refused_before_it_is_scheduled(capsys):
    for words in (["upscale", "in", "out", "--scale", "7"], ["nonsense"], []):
        status = cli._status(["schedule", "render", "--to", "systemd", "--cron", "@daily", *words])
        assert status == exit_status.BAD_USAGE
        assert "Traceback" not in capsys.readouterr().err
    assert cli._status(["schedule", "render", "--to", "rayjob", "--cpu-workers", "x", "upscale", "a", "b"]) == 1
    assert json.dumps("no number of nodes")[1:-1] in capsys.readouterr().err


@pytest.mark.parametrize(
    ("nodes", "job", "why"),
    [
        (["--gpu-workers", "0:4"], "upscale a b", "makes its workers for the nodes that are there when it starts"),
        (["--cpu-workers", "0"], "upscale a b", "the cluster would begin without a node"),
        (["--cpu-workers", "0", "--gpu-workers", "0:2"], "train gan --data d --output o", "would begin without a node"),
    ],
)
def test_a_cluster_has_its_nodes_when_the_job_counts_them(nodes, job, why, capsys):
    """A bulk job counts the nodes once; an empty cluster would be refused by every job, every night."""
    assert cli._status(["schedule", "render", "--to", "rayjob", *nodes, *job.split()]) == 1
    assert why in capsys.readouterr().err


def test_a_rendered_cluster_begins_with_all_of_its_nodes(capsys):
    assert cli._status(["schedule", "render", "--to", "rayjob", "upscale", "s3://b/a", "s3://b/b"]) == 0
    (group,) = yaml.safe_load(capsys.readouterr().out)["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert (group["replicas"], group["minReplicas"], group["maxReplicas"]) == (4, 4, 4)
