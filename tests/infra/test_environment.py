"""`make setup` gives a torch that imports: with CUDA's libraries where pip takes the CUDA build, without where not."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from infra import environment

ROOT = Path(__file__).parents[2]
LOCK = ROOT / "requirements.lock"
TORCH = environment.locked_torch(LOCK)
NEEDS = (
    "filelock",
    "typing-extensions>=4.10.0",
    "sympy>=1.13.3",
    "networkx>=2.5.1",
    "jinja2",
    "fsspec>=0.8.5",
    "setuptools>=77",
)
"""What every build of torch requires."""
CUDA = ('cuda-toolkit==13.0.3; platform_system == "Linux"', 'nvidia-cudnn-cu13==9.20.0.48; platform_system == "Linux"')
"""Of what PyPI's build requires beside; the lock holds none of it."""
LINUX = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64")


def wheel(folder: Path, name: str, version: str, requires: tuple[str, ...] = (), tag: str = "py3-none-any") -> None:
    """A wheel without content, as an index would offer it."""
    stem = f"{name.replace('-', '_')}-{version}"
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    with zipfile.ZipFile(folder / f"{stem}-{tag}.whl", "w") as file:
        file.writestr(f"{stem}.dist-info/METADATA", "\n".join(lines) + "\n")
        file.writestr(f"{stem}.dist-info/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")
        file.writestr(f"{stem}.dist-info/RECORD", "")


@pytest.fixture
def offered(tmp_path: Path) -> Path:
    """PyPI as pip on Linux sees it: the CUDA build, its libraries, and what the lock names."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for line in environment.other_packages(LOCK):
        name, _, version = line.partition("==")
        wheel(folder, name, version)
    for requirement in CUDA:
        name, _, version = requirement.partition(";")[0].partition("==")
        wheel(folder, name, version, tag=f"py3-none-{LINUX[1]}")
    wheel(folder, "torch", TORCH, NEEDS + CUDA, tag=f"cp311-cp311-{LINUX[0]}")
    return folder


def resolved(choice: environment.Choice, wheels: Path, where: Path) -> dict[str, str]:
    """What pip would install on Linux for a choice of torch: versions by name. Only the wheels are on offer."""
    words = environment.torch_arguments(choice, LOCK)
    if "--index-url" in words:
        place = words.index("--index-url")
        del words[place : place + 2]
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--dry-run", "--quiet", "--ignore-installed"]
    offer = ["--no-index", "--find-links", str(wheels), "--report", "-", "--target", str(where)]
    platform = [
        "--python-version",
        "3.11",
        "--only-binary",
        ":all:",
        *(w for tag in LINUX for w in ("--platform", tag)),
    ]
    done = subprocess.run([*pip, *offer, *platform, *words], capture_output=True, text=True, check=True)
    found = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    return {re.sub(r"[-_.]+", "-", item["name"].lower()): item["version"] for item in found}


def test_where_pip_takes_torch_from_pypi_it_comes_with_its_libraries(offered, tmp_path):
    found = resolved("auto", offered, tmp_path / "there")
    assert found["torch"] == TORCH
    assert {"nvidia-cudnn-cu13", "cuda-toolkit"} <= set(found)


def test_where_a_cpu_build_is_offered_nothing_of_cuda_comes(offered, tmp_path):
    wheel(offered, "torch", f"{TORCH}+cpu", NEEDS, tag=f"cp311-cp311-{LINUX[0]}")
    for choice in ("auto", "cpu"):
        found = resolved(choice, offered, tmp_path / "there")
        assert found["torch"] == f"{TORCH}+cpu"
        assert not [name for name in found if "cu" in name]


def test_cuda_can_be_chosen_where_a_cpu_build_is_offered(offered, tmp_path):
    wheel(offered, "torch", f"{TORCH}+cpu", NEEDS, tag=f"cp311-cp311-{LINUX[0]}")
    found = resolved("cuda", offered, tmp_path / "there")
    assert found["torch"] == TORCH
    assert "nvidia-cudnn-cu13" in found


def test_everything_but_cudas_libraries_is_as_the_lock_has_it(offered, tmp_path):
    """What torch requires is in the lock, so that no version is left to the day of the installation."""
    locked = dict(line.split("==") for line in LOCK.read_text().split())
    names = {re.sub(r"[-_.]+", "-", name.lower()): version for name, version in locked.items()}
    for name, version in resolved("auto", offered, tmp_path / "there").items():
        assert names.get(name, version) == version
        assert name in names or f"{name}=={version}" in {requirement.partition(";")[0] for requirement in CUDA}


def test_an_installed_torch_is_left_alone():
    assert environment.torch_arguments("installed", LOCK) == []
    assert "torch" not in {line.partition("==")[0] for line in environment.other_packages(LOCK)}


def test_the_check_says_what_there_is_and_refuses_another_build(capsys):
    environment.check("auto")
    import torch

    assert f"torch {torch.__version__} is a" in capsys.readouterr().out
    other: environment.Choice = "cpu" if torch.version.cuda else "cuda"
    with pytest.raises(SystemExit, match=f"a {other} build was asked for"):
        environment.check(other)


def test_a_torch_that_lacks_its_libraries_gets_a_sentence(tmp_path):
    """As the CUDA build of the lock alone did on an ordinary Linux."""
    (tmp_path / "torch.py").write_text("raise ImportError('libcudnn.so.9: cannot open shared object file')\n")
    command = [sys.executable, str(ROOT / "infra/environment.py"), "check"]
    done = subprocess.run(command, env={"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("setup: torch does not import (libcudnn.so.9")
    assert "TORCH=cpu" in done.stderr
    assert "Traceback" not in done.stderr
