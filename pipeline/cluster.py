"""The Ray cluster that a job runs on: the one that RAY_ADDRESS names, or one of its own on this machine."""

import contextlib
import os
from collections.abc import Iterator

import ray

OBJECT_STORE_BYTES = 400 << 20
"""Of a cluster of our own. Plans and results are small, and pixels never pass through it."""


class ClusterError(Exception):
    """A plan that the cluster can't run; the message says what it lacks."""


@contextlib.contextmanager
def connected(object_store_bytes: int = OBJECT_STORE_BYTES) -> Iterator[None]:
    """Connect to Ray for as long as the block runs; a cluster that this started ends with it."""
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "1")
    if os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False, logging_level="error")
    else:
        # `local`, since a bare init would join whatever cluster last ran on this machine, dead ones included.
        ray.init(
            address="local",
            object_store_memory=object_store_bytes,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="error",
        )
    try:
        yield
    finally:
        ray.shutdown()


def accelerators() -> int:
    """GPUs of the cluster."""
    return int(ray.cluster_resources().get("GPU", 0))


def cores() -> int:
    """Logical CPUs of the cluster."""
    return max(int(ray.cluster_resources().get("CPU", 1)), 1)


def demand(workers: int, cpus: float, gpus: float, what: str) -> None:
    """Refuse a plan that could never be scheduled, which Ray would wait on for ever.

    Raises:
        ClusterError: the cluster has too few CPUs or GPUs in all, or none of its nodes holds one worker.
    """
    have = ray.cluster_resources()
    for name, each in (("CPU", cpus), ("GPU", gpus)):
        if each and workers * each > have.get(name, 0) + 1e-6:
            raise ClusterError(
                f"{what} needs {workers} x {each:g} {name}, and the cluster has {have.get(name, 0):g}; "
                f"ask for fewer workers, or for less {name} for each"
            )
    alive = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    if not any(n.get("CPU", 0) >= cpus and n.get("GPU", 0) >= gpus for n in alive):
        raise ClusterError(f"{what} needs {cpus:g} CPU and {gpus:g} GPU on one node, and no node has that")
