"""Install what Recast depends on, at the locked versions, with a torch that works on this machine; then check it.

The lock names every package but CUDA's libraries: which of them torch needs, its own wheel states exactly, so pip takes
them from there. Only the standard library is used, since this runs before anything else is installed.
"""

import argparse
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal, get_args

Choice = Literal["auto", "cpu", "cuda", "installed"]
CHOICES: tuple[Choice, ...] = get_args(Choice)
LOCK = Path("requirements.lock")
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's own index of CPU builds; PyPI's build for Linux on x86-64 is a CUDA build."""


def locked_torch(lock: Path) -> str:
    """The version of torch in the lock: `2.13.0`."""
    found = re.search(r"^torch==([\d.]+)$", lock.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{lock} names no version of torch")
    return found[1]


def torch_arguments(choice: Choice, lock: Path) -> list[str]:
    """What `pip install` is given for a choice of torch; empty where there is nothing to install.

    Unlike the rest of the lock, torch is installed with what its wheel requires, of which the lock holds all but CUDA's
    libraries. `cuda` names the version by `===`, which no CPU build (`2.13.0+cpu`) matches.
    """
    version = locked_torch(lock)
    match choice:
        case "installed":
            return []
        case "cuda":
            return ["-c", str(lock), f"torch==={version}"]
        case "cpu":  # a CPU build that lies at hand does where the index can't be reached
            return ["-c", str(lock), "--index-url", CPU_INDEX, "--retries", "1", f"torch=={version}"]
        case "auto":
            return ["-c", str(lock), f"torch=={version}"]


def other_packages(lock: Path) -> list[str]:
    """The lock's requirements but torch's."""
    return [line for line in lock.read_text().split() if not line.startswith("torch==")]


def pip(*words: str) -> None:
    """Run pip in this environment, its output for all to see."""
    if subprocess.run([sys.executable, "-m", "pip", "--disable-pip-version-check", *words], check=False).returncode:
        raise SystemExit("setup: pip failed; what it says is above")


def install(choice: Choice, lock: Path) -> None:
    print("==> the locked packages", flush=True)
    pip("install", "--no-deps", *other_packages(lock))
    if not (arguments := torch_arguments(choice, lock)):
        return
    print(f"==> torch {locked_torch(lock)} ({choice})", flush=True)
    if choice != "auto" and _installed_build() not in ("", choice):
        pip("uninstall", "--yes", "torch")
    pip("install", *arguments)


def _installed_build() -> Literal["", "cpu", "cuda"]:
    """Which build of torch is installed, if any: by its version, since one without its libraries does not import."""
    try:
        return "cpu" if metadata.version("torch").endswith("+cpu") else "cuda"
    except metadata.PackageNotFoundError:
        return ""


def check(choice: Choice) -> None:
    """Say which torch there is and what it computes on.

    Raises:
        SystemExit: with a sentence: torch does not import, or is of another build than was chosen.
    """
    print("==> a check", flush=True)
    try:
        import torch
    except ModuleNotFoundError as fault:
        raise SystemExit(
            "setup: no torch is installed for this Python; choose one, `make setup TORCH=cpu` or `TORCH=cuda`"
        ) from fault
    except (ImportError, OSError) as fault:
        raise SystemExit(
            f"setup: torch does not import ({fault}); `make setup TORCH=cpu` takes a build that needs no CUDA"
        ) from fault
    build: Choice = "cuda" if torch.version.cuda else "cpu"
    if choice in ("cpu", "cuda") and choice != build:
        raise SystemExit(f"setup: torch {torch.__version__} is a {build} build, and a {choice} build was asked for")
    devices = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    side = float(torch.nn.functional.conv2d(torch.ones(1, 1, 4, 4), torch.ones(1, 1, 3, 3)).sum())
    if side != 36.0:
        raise SystemExit("setup: this torch computes wrongly on the CPU; try another build, `make setup TORCH=cpu`")
    print(f"torch {torch.__version__} is a {build} build; GPUs here: {', '.join(devices) or 'none'}", flush=True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]  # it has one
    parser.add_argument("step", choices=("install", "check"))
    parser.add_argument("--torch", choices=CHOICES, default="auto", help="which build; auto: the one that pip prefers")
    given = parser.parse_args(arguments)
    if given.step == "install":
        install(given.torch, LOCK)
    else:
        check(given.torch)


if __name__ == "__main__":
    main()
