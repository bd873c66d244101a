"""`recast env`: what this machine has to work with."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

from recast.jobs.arguments import Json
from recast.jobs.exit_status import DONE
from recast.pipeline import events

if TYPE_CHECKING:
    from recast.jobs.machine import Machine


def env(*, as_json: Json = False) -> int:
    """Print versions, processors, memory, the Ray cluster, and which optional packages are missing.

    Example: `recast env`
    """
    from recast.jobs.machine import machine

    found = machine()
    if as_json:
        extras = [{**asdict(extra), "install": extra.install} for extra in found.extras]
        print(json.dumps({**asdict(found), "extras": extras}))
        return DONE
    for name, value in _lines(found):
        events.show(f"{name:18}{value}")
    return DONE


def _lines(found: "Machine") -> list[tuple[str, str]]:
    """The facts in the order in which a person asks for them."""
    packages = ", ".join(f"{name} {version or 'is missing'}" for name, version in found.packages.items())
    return [
        ("Recast", f"{found.recast}, on Python {found.python}, {found.platform}"),
        ("packages", packages),
        ("torch's build", found.torch_build),
        ("GPUs", ", ".join(found.gpus) or "none that torch finds"),
        ("CPU cores", str(found.cores)),
        ("memory", _gib(found.memory_bytes)),
        ("shared memory", _shared_memory(found)),
        ("Ray cluster", _cluster(found)),
        *((f"extra {extra.name}", _extra(extra.missing, extra.install)) for extra in found.extras),
    ]


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.1f} GiB"


def _shared_memory(found: "Machine") -> str:
    from recast.jobs.machine import RAY_NEEDS, SHARED_MEMORY

    if found.shared_memory_bytes is None:
        return f"there is no {SHARED_MEMORY}"
    size = f"{_gib(found.shared_memory_bytes)} at {SHARED_MEMORY}"
    if found.shared_memory_bytes >= RAY_NEEDS * found.memory_bytes:
        return size
    wanted = _gib(round(RAY_NEEDS * found.memory_bytes))
    return f"{size}; Ray wants {wanted} and uses slower files (in a container: `docker run --shm-size=…`)"


def _cluster(found: "Machine") -> str:
    if found.ray_unreachable is None:
        return f"RAY_ADDRESS is {found.ray_address or 'not set'}: jobs run on this machine"
    if found.ray_address == "auto":
        return "RAY_ADDRESS is auto: jobs look for a cluster on this machine"
    return found.ray_unreachable or f"RAY_ADDRESS is {found.ray_address}, and a cluster answers there"


def _extra(missing: tuple[str, ...], install: str) -> str:
    return f"{', '.join(missing)} missing: {install}" if missing else "installed"
