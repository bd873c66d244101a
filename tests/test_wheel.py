"""The wheel brings one package, `recast`, with all that it needs, and lives beside anybody's own `models/`."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import recast

ROOT = Path(__file__).parents[1]
PARTS = ("recast", "jobs", "pipeline", "models", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built from a copy, for building leaves files behind."""
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for part in PARTS:
        if (ROOT / part).is_dir():
            shutil.copytree(ROOT / part, tree / part, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / part, tree)
    pip = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(out),
    ]
    subprocess.run([*pip, str(tree)], check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_brings_one_package_and_what_it_ships(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name.startswith("recast_gan-")
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"recast"}
    for needed in ("recast/py.typed", "recast/jobs/cli.py", "recast/pipeline/report/page.css"):
        assert needed in names
    assert "recast/models/bundles/upscale-x2/bundle.json" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_the_wheel_works_beside_other_peoples_packages_of_our_folders_names(wheel, tmp_path):
    """As in a clone of somebody's repository that has a `models/` of its own, which comes first on Python's path."""
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    for name in ("models", "pipeline", "jobs"):
        (tmp_path / "theirs" / name).mkdir(parents=True)
        (tmp_path / "theirs" / name / "__init__.py").write_text("")
    script = (
        "import models, recast.jobs.cli, recast.models.bundle, recast.pipeline.bulk.job, recast.models.shipped as s\n"
        "print(recast.__file__, s.shipped('upscale-x2').is_dir(), recast.__version__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path / "theirs", capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
    )  # fmt: skip
    assert done.stdout.split() == [str(tmp_path / "site/recast/__init__.py"), "True", recast.__version__]
