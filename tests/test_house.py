"""The house's rules that a tool can check: which way imports run, and that files say what they are for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOUSE = ("jobs", "pipeline", "models")
MODULES = sorted(path for folder in HOUSE for path in (ROOT / folder).rglob("*.py"))
FORBIDDEN = {
    "jobs": set(),
    "pipeline": {"jobs", "cyclopts", "typer"},
    "models": {"jobs", "pipeline", "ray", "fsspec", "s3fs", "pyarrow", "cyclopts", "typer"},
}
VAGUE = {"utils", "util", "misc", "helpers", "common"}


def imported(path: Path) -> set[str]:
    """The packages that a module imports, wherever in it: of Recast by the name of the folder, of others by their own;
    `relative` and `bare` where one of Recast's is not named from `recast` on."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {_package(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {"relative"} if node.level else {_package(node.module or "")}
            if node.module == "recast":
                found |= {alias.name for alias in node.names if alias.name in HOUSE}
    return found


def _package(module: str) -> str:
    first, _, rest = module.partition(".")
    if first in HOUSE:
        return "bare"
    return rest.partition(".")[0] if first == "recast" and rest else first


ANY = {"infra", "tests", "relative", "bare"}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_from_jobs_to_pipeline_to_models_and_never_back(path):
    folder = path.relative_to(ROOT).parts[0]
    assert not imported(path) & (FORBIDDEN[folder] | ANY)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_opens_with_what_it_is_for_and_is_named_for_its_noun(path):
    doc = ast.get_docstring(ast.parse(path.read_text()))
    assert doc, "no docstring"
    assert path.stem not in VAGUE


def test_the_readmes_tree_names_every_folder_of_the_house():
    readme = (ROOT / "README.md").read_text()
    for folder in (*HOUSE, "recast", "infra", "tests", "docs"):
        assert f"{folder}/" in readme


def test_commands_start_without_what_takes_seconds_to_import():
    """So that `--help`, a mistake in an option or a list of jobs is there at once; who computes imports it then."""
    script = "import sys, recast.jobs.cli; print({'torch', 'ray', 'pandas', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
