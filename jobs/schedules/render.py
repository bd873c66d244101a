"""A schedule as files for those who keep schedules: systemd, Kubernetes, KubeRay, Airflow."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import ray
import yaml

from recast.jobs.schedules.schedule import Schedule

Target = Literal["kubernetes", "raycronjob", "rayjob", "systemd", "airflow"]
SECRETS = "/var/run/secrets/recast"
CREDENTIALS = "/var/run/secrets/storage"
FIRER = "/etc/recast/rayjob.yaml"
LABELS = {"app.kubernetes.io/name": "recast"}


@dataclass(frozen=True, kw_only=True)
class Place:
    """What a cluster's files need to know."""

    image: str = "recast:latest"
    """With Recast and Ray; see infra/docker."""
    namespace: str = "default"
    service_account: str = "recast-schedule"
    passcode_secret: str = ""
    """A Secret whose key `passcode` is mounted as a file: give the job `--passcode-file` with that path."""
    storage_secret: str = ""
    """A Secret whose key `credentials` is an AWS credentials file, mounted for the job and its workers."""
    cpu_workers: tuple[int, int] = (4, 4)
    """Least and most nodes of 8 CPUs that the autoscaler may have."""
    gpu_workers: tuple[int, int] = (0, 0)
    """Least and most nodes of 8 CPUs and a GPU."""
    environment: Mapping[str, str] = field(default_factory=dict)


def systemd(schedule: Schedule, _place: Place) -> dict[str, str]:
    """A service and its timer, for `~/.config/systemd/user` or `/etc/systemd/system`."""
    return units(schedule, ("/usr/bin/env", "recast"), {})


def units(schedule: Schedule, program: Sequence[str], variables: Mapping[str, str]) -> dict[str, str]:
    """The same, for a `recast` that is called so, with variables in its environment."""
    timer = "\n".join(f"OnCalendar={when}" for when in schedule.times.on_calendar())
    command = " ".join(_for_systemd(word).replace("$", "$$") for word in (*program, *schedule.command))
    environment = "".join(f"Environment={_for_systemd(f'{name}={value}')}\n" for name, value in variables.items())
    return {
        f"recast-{schedule.name}.service": f"""[Unit]
Description=Recast: {schedule.name}
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
{environment}ExecStart={command}
# Interrupting a run is safe, and the next one goes on from there.
KillSignal=SIGTERM
TimeoutStopSec=120
NoNewPrivileges=true
PrivateTmp=false
""",
        f"recast-{schedule.name}.timer": f"""[Unit]
Description=Recast: {schedule.name}, {schedule.times.text}

[Timer]
{timer}
# A run that was missed while the machine was off is made up for at once.
Persistent=true

[Install]
WantedBy=timers.target
""",
    }


def _for_systemd(word: str) -> str:
    """A word in systemd's quotes, on one line, with nothing left in it that systemd would read otherwise."""
    if re.fullmatch(r"[\w@+=:,./$-]+", word, re.ASCII):
        return word
    return '"' + "".join(_escaped(character) for character in word).replace("%", "%%") + '"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in os.fsencode(character))


def airflow(schedule: Schedule, _place: Place) -> dict[str, str]:
    """A DAG that submits the job to the cluster of RAY_API_SERVER_ADDRESS and waits for it."""
    name = f"recast_{schedule.name.replace('-', '_')}"
    return {
        f"{name}.py": f'''"""A job of Recast on a Ray cluster, as `recast schedule render` wrote it."""

import datetime
import shlex

from airflow import DAG
from airflow.providers.standard.operators.bash import BashOperator

COMMAND = {list(schedule.command)!a}

with DAG(
    dag_id={name!a},
    schedule={schedule.times.text!a},
    start_date=datetime.datetime(2026, 1, 1),
    catchup=False,  # runs are incremental: the next makes up for those that were missed
    max_active_runs=1,
    default_args={{"retries": 2, "retry_delay": datetime.timedelta(minutes=10)}},
    user_defined_macros={{"recast_job": shlex.join(COMMAND)}},  # a macro's value is no template itself
):
    # The exit status is the job's own; RAY_API_SERVER_ADDRESS names the cluster.
    BashOperator(task_id={schedule.command[0]!a}, bash_command="recast submit --follow {{{{ recast_job }}}}")
'''
    }


def rayjob(schedule: Schedule, place: Place) -> dict[str, str]:
    """One RayJob, to be created by hand or by something else: `kubectl create -f`."""
    return {f"{schedule.name}.yaml": _documents(_rayjob(schedule, place))}


def raycronjob(schedule: Schedule, place: Place) -> dict[str, str]:
    """KubeRay's own: since 1.6, alpha, behind a feature gate that is off, and it starts runs that overlap."""
    spec = {"schedule": schedule.times.text, "jobTemplate": _rayjob(schedule, place)["spec"]}
    note = (
        "# RayCronJob: in KubeRay since 1.6, alpha; the operator needs --feature-gates=RayCronJob=true. It has no\n"
        "# concurrencyPolicy: a run that starts while another runs is kept out by the output's lease, and fails.\n"
    )
    return {f"{schedule.name}.yaml": note + _documents(_object("RayCronJob", "ray.io/v1", schedule, place, spec))}


def kubernetes(schedule: Schedule, place: Place) -> dict[str, str]:
    """A CronJob that creates a RayJob and waits for its end, so that runs don't overlap and failures are its own."""
    account = {"kind": "ServiceAccount", "name": place.service_account, "namespace": place.namespace}
    objects = [
        _object("ServiceAccount", "v1", schedule, place, name=place.service_account),
        {
            **_object("Role", "rbac.authorization.k8s.io/v1", schedule, place, name=place.service_account),
            "rules": [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get", "delete"]}],
        },
        {
            **_object("RoleBinding", "rbac.authorization.k8s.io/v1", schedule, place, name=place.service_account),
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": place.service_account},
            "subjects": [account],
        },
        {
            **_object("ConfigMap", "v1", schedule, place),
            "data": {"rayjob.yaml": _documents(_rayjob(schedule, place))},
        },
        _object("CronJob", "batch/v1", schedule, place, _cronjob(schedule, place)),
    ]
    return {f"{schedule.name}.yaml": _documents(*objects)}


def _cronjob(schedule: Schedule, place: Place) -> dict[str, Any]:
    container = {
        "name": "fire",
        "image": place.image,
        "args": ["schedule", "fire", FIRER],
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [{"name": "rayjob", "mountPath": "/etc/recast", "readOnly": True}],
    }
    pod = {
        "serviceAccountName": place.service_account,
        "restartPolicy": "Never",
        "securityContext": _unprivileged(),
        "containers": [container],
        "volumes": [{"name": "rayjob", "configMap": {"name": schedule.name}}],
    }
    return {
        "schedule": schedule.times.text,
        "concurrencyPolicy": "Forbid",
        "startingDeadlineSeconds": 3600,
        "successfulJobsHistoryLimit": 3,
        "failedJobsHistoryLimit": 5,
        "jobTemplate": {
            "spec": {
                "backoffLimit": 0,
                "template": {"metadata": {"labels": dict(LABELS)}, "spec": pod},
            }
        },
    }


def _rayjob(schedule: Schedule, place: Place) -> dict[str, Any]:
    head = _container("ray-head", place, cpu="2", memory="8Gi")
    groups = [
        _group("cpu", place, place.cpu_workers, cpu="8", memory="32Gi"),
        _group("gpu", place, place.gpu_workers, cpu="8", memory="32Gi", gpus="1"),
    ]
    spec = {
        "entrypoint": schedule.shell.replace("recast ", "python -m recast ", 1),
        "submissionMode": "K8sJobMode",
        "shutdownAfterJobFinishes": True,
        "ttlSecondsAfterFinished": 3600,
        "backoffLimit": 2,
        "rayClusterSpec": {
            "rayVersion": ray.__version__,
            "enableInTreeAutoscaling": True,
            "autoscalerOptions": {"idleTimeoutSeconds": 120, "upscalingMode": "Default"},
            "authOptions": {"mode": "token"},
            "headGroupSpec": {
                # No CPUs for work: what loses a worker goes on, what loses the head begins again.
                "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},
                "template": _pod(head, place, spot=False),
            },
            "workerGroupSpecs": [group for group in groups if group["maxReplicas"]],
        },
    }
    made = _object("RayJob", "ray.io/v1", schedule, place, spec)
    made["metadata"] = {"generateName": f"{schedule.name}-", **made["metadata"]}
    del made["metadata"]["name"]
    return made


def _group(name: str, place: Place, replicas: tuple[int, int], **resources: str) -> dict[str, Any]:
    container = _container("ray-worker", place, **resources)
    return {
        "groupName": name,
        "replicas": replicas[0],
        "minReplicas": replicas[0],
        "maxReplicas": replicas[1],
        "rayStartParams": {},
        "template": _pod(container, place, spot=True),
    }


def _container(name: str, place: Place, *, cpu: str, memory: str, gpus: str = "") -> dict[str, Any]:
    """KubeRay adds liveness and readiness probes of Ray's own to it."""
    amounts = {"cpu": cpu, "memory": memory, **({"nvidia.com/gpu": gpus} if gpus else {})}
    environment = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RECAST_LOG": "json",
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required",
        **({"AWS_SHARED_CREDENTIALS_FILE": f"{CREDENTIALS}/credentials"} if place.storage_secret else {}),
        **place.environment,
    }
    return {
        "name": name,
        "image": place.image,
        "env": [{"name": key, "value": value} for key, value in environment.items()],
        "resources": {"requests": amounts, "limits": dict(amounts)},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": [
            {"name": "scratch", "mountPath": "/tmp"},
            {"name": "shared-memory", "mountPath": "/dev/shm"},
            *({"name": n, "mountPath": path, "readOnly": True} for n, path, _ in _mounts(name, place)),
        ],
    }


def _mounts(container: str, place: Place) -> list[tuple[str, str, str]]:
    """Name, path and Secret. The passcode is for the head alone, where the driver runs."""
    passcode = place.passcode_secret if container == "ray-head" else ""
    mounts = (("passcode", SECRETS, passcode), ("storage", CREDENTIALS, place.storage_secret))
    return [mount for mount in mounts if mount[2]]


def _pod(container: dict[str, Any], place: Place, *, spot: bool) -> dict[str, Any]:
    memory = container["resources"]["requests"]["memory"]
    spec: dict[str, Any] = {
        "securityContext": _unprivileged(),
        "containers": [container],
        "volumes": [
            {"name": "scratch", "emptyDir": {}},
            {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": f"{int(memory[:-2]) * 3 // 10}Gi"}},
            *(
                {"name": n, "secret": {"secretName": secret, "defaultMode": 0o440}}
                for n, _, secret in _mounts(container["name"], place)
            ),
        ],
    }
    if spot:
        spec["tolerations"] = [
            {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "cloud.google.com/gke-spot", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "kubernetes.azure.com/scalesetpriority", "operator": "Exists", "effect": "NoSchedule"},
            {"key": "karpenter.sh/capacity-type", "operator": "Exists", "effect": "NoSchedule"},
        ]
        spec["terminationGracePeriodSeconds"] = 60
    return {"metadata": {"labels": dict(LABELS)}, "spec": spec}


def _unprivileged() -> dict[str, Any]:
    """The image's own user."""
    return {
        "runAsNonRoot": True, "runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip


def _object(
    kind: str, version: str, schedule: Schedule, place: Place, spec: Any = None, *, name: str = ""
) -> dict[str, Any]:
    labels = {**LABELS, "recast/schedule": schedule.name}
    metadata = {"name": name or schedule.name, "namespace": place.namespace, "labels": labels}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **({} if spec is None else {"spec": spec})}


class _Dumper(yaml.SafeDumper):
    """Without anchors: whoever edits the file edits what they see."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _documents(*objects: Mapping[str, Any]) -> str:
    return yaml.dump_all(objects, Dumper=_Dumper, sort_keys=False, width=110)


RENDERERS: Mapping[Target, Callable[[Schedule, Place], dict[str, str]]] = {
    "kubernetes": kubernetes,
    "raycronjob": raycronjob,
    "rayjob": rayjob,
    "systemd": systemd,
    "airflow": airflow,
}
