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

FLOORS = (
    {"ground"},
    {"output"},
    {"images"},
    {"sources", "video"},
    {"regions"},
    {"bulk", "training"},
    {"deidentify", "perception", "generation"},
    {"evaluation", "report"},
)
"""The folders of `pipeline/` from the ground up; its files stand on the ground. Nothing imports what stands higher."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("recast", *parts[: -1 if parts[-1] == "__init__" else None]))


def imports() -> dict[str, set[str]]:
    """For each module of the house those of the house that it imports, wherever in it, for types alone or not."""
    known = {module_of(path): path for path in MODULES}
    found: dict[str, set[str]] = {}
    for name, path in known.items():
        nodes = list(ast.walk(ast.parse(path.read_text())))
        named = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                members = {f"{node.module}.{alias.name}" for alias in node.names}
                named |= members & set(known) or {node.module}
        found[name] = named & set(known) - {name}
    return found


def circles(graph: dict[str, set[str]]) -> set[str]:
    """The nodes that a way along the arrows leads back to: what is left when those without a way on are taken out."""
    left = {node: set(ends) for node, ends in graph.items()}
    for arrows in (left, {node: {other for other in graph if node in graph[other]} for node in graph}):
        while ends := {node for node in left if not arrows[node] & set(left)}:
            for node in ends:
                del left[node]
    return set(left)


def floor(module: str) -> int:
    parts = module.split(".")
    folder = parts[2] if len(parts) > 3 or parts[2] in set.union(*FLOORS) else "ground"
    return next(n for n, folders in enumerate(FLOORS) if folder in folders)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_from_jobs_to_pipeline_to_models_and_never_back(path):
    folder = path.relative_to(ROOT).parts[0]
    assert not imported(path) & (FORBIDDEN[folder] | ANY)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_opens_with_what_it_is_for_and_is_named_for_its_noun(path):
    doc = ast.get_docstring(ast.parse(path.read_text()))
    assert doc, "no docstring"
    assert path.stem not in VAGUE


def test_no_file_imports_itself_by_way_of_others():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == {"b", "c"}
    assert circles(imports()) == set()


def test_nothing_in_the_pipeline_imports_what_stands_above_it():
    """Folders of one floor don't import each other in a circle either."""
    graph = {name: ends for name, ends in imports().items() if name.startswith("recast.pipeline.")}
    up = {(name, end) for name, ends in graph.items() for end in ends & set(graph) if floor(end) > floor(name)}
    assert up == set()
    folders: dict[str, set[str]] = {}
    for name, ends in graph.items():
        for end in ends & set(graph):
            if floor(name) and floor(end) and (own := name.split(".")[2]) != (other := end.split(".")[2]):
                folders.setdefault(own, set()).add(other)
                folders.setdefault(other, set())
    assert circles(folders) == set()


def test_the_readmes_tree_names_every_folder_of_the_house():
    readme = (ROOT / "README.md").read_text()
    for folder in (*HOUSE, "recast", "infra", "tests", "docs"):
        assert f"{folder}/" in readme


def test_commands_start_without_what_takes_seconds_to_import():
    """So that `--help`, a mistake in an option or a list of jobs is there at once; who computes imports it then."""
    script = "import sys, recast.jobs.cli; print({'torch', 'ray', 'pandas', 'scipy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
