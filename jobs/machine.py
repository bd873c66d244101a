"""What this machine has to work with: versions, processors, memory, a Ray cluster, and what is not installed."""

import contextlib
import importlib.metadata
import os
import platform
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from recast import __version__
from recast.pipeline import reach
from recast.pipeline.cores import cores

DISTRIBUTION = "recast-gan"
PACKAGES = ("torch", "ray", "pyarrow", "numpy", "pillow", "opencv-python-headless", "fsspec", "s3fs")
SHARED_MEMORY = Path("/dev/shm")
RAY_NEEDS = 0.3
"""Share of the machine's memory that Ray wants in shared memory; with less it keeps objects on disk."""
CONTAINER_MEMORY = Path("/sys/fs/cgroup/memory.max")
"""What a container may use, in bytes, or `max`."""


@dataclass(frozen=True, kw_only=True)
class Extra:
    """Packages that some commands need and that are not always installed."""

    name: str
    missing: tuple[str, ...]

    @property
    def install(self) -> str:
        """The line that installs it; "" where it is there."""
        return f"pip install '{DISTRIBUTION}[{self.name}]'" if self.missing else ""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """This machine, as jobs will find it."""

    recast: str
    python: str
    platform: str
    packages: dict[str, str | None]
    """Versions; None where a package is not installed."""
    torch_build: str
    """`CPU`, or what accelerators torch was built for, such as `CUDA 13.0`."""
    gpus: tuple[str, ...]
    cores: int
    """Those that this process may use."""
    memory_bytes: int
    """What a container may use where this runs in one."""
    shared_memory_bytes: int | None
    """None where there is no /dev/shm."""
    ray_address: str
    ray_unreachable: str | None
    """Why no cluster answers at RAY_ADDRESS; "" if one does, None where jobs start Ray themselves."""
    extras: tuple[Extra, ...]


def machine() -> Machine:
    """Look at this machine. Imports torch, and asks the cluster of RAY_ADDRESS whether it is there."""
    build, gpus = _accelerators()
    address = os.environ.get("RAY_ADDRESS", "")
    return Machine(
        recast=__version__,
        python=platform.python_version(),
        platform=platform.platform(),
        packages={name: _version(name) for name in PACKAGES},
        torch_build=build,
        gpus=gpus,
        cores=cores(),
        memory_bytes=_memory_bytes(),
        shared_memory_bytes=shutil.disk_usage(SHARED_MEMORY).total if SHARED_MEMORY.exists() else None,
        ray_address=address,
        ray_unreachable=reach.unreachable(named) if (named := reach.cluster_address()) else None,
        extras=extras(),
    )


def extras() -> tuple[Extra, ...]:
    """What Recast can be installed with besides, but for what developers need; none where it is not installed."""
    try:
        found = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return ()
    wanted = found.get_all("Requires-Dist") or []
    names = [name for name in found.get_all("Provides-Extra") or [] if name != "dev"]
    return tuple(Extra(name=name, missing=tuple(sorted(_missing(name, wanted)))) for name in names)


def _missing(extra: str, wanted: list[str]) -> set[str]:
    """Packages of an extra that are not installed; an extra may hold another one."""
    missing: set[str] = set()
    for line in wanted:
        package, _, condition = line.partition(";")
        if not re.search(rf"""extra == ['"]{re.escape(extra)}['"]""", condition):
            continue
        match = re.match(r"\s*([\w.-]+)(?:\[([\w.,-]+)\])?", package)
        assert match, f"{line} is a requirement"
        if match[1] == DISTRIBUTION:
            missing |= {name for inner in match[2].split(",") for name in _missing(inner, wanted)}
        elif _version(match[1]) is None:
            missing.add(match[1])
    return missing


def _version(package: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        return importlib.metadata.version(package)
    return None


def _accelerators() -> tuple[str, tuple[str, ...]]:
    """What torch was built for, and the GPUs that it finds."""
    import torch

    build = "CPU"
    if torch.version.cuda:
        build = f"CUDA {torch.version.cuda}"
    elif torch.version.hip:
        build = f"ROCm {torch.version.hip}"
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return build, tuple(torch.cuda.get_device_name(n) for n in range(count))


def _memory_bytes() -> int:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = CONTAINER_MEMORY.read_text().strip() if CONTAINER_MEMORY.exists() else ""
    return min(whole, int(limit)) if limit.isdecimal() else whole
