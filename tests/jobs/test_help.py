"""Help reads itself: what a page shows of a command, its arguments, its options and a recipe's settings."""

import json
import re
import shlex
from pathlib import Path

import pytest
from rich.console import Console

from recast.jobs import cli, recipe_help
from recast.jobs.app import app, shown_default, understood
from recast.jobs.headings import GROUPS, OPTIONS
from recast.jobs.machine import extras
from recast.models.recipes import RECIPES
from recast.models.recipes.documented import presets, settings

BULK = ("upscale", "translate", "deidentify", "restore", "annotate")


def leaves(commands=app, chain=()):
    """Every command that does something, as the words that are typed."""
    for name in commands:
        if name in (*commands.help_flags, *commands.version_flags):
            continue
        command = commands[name]
        yield from leaves(command, (*chain, name)) if command.default_command is None else ((*chain, name),)


COMMANDS = sorted(leaves())


def command_of(chain):
    command = app
    for name in chain:
        command = command[name]
    return command


@pytest.fixture
def page(capsys, monkeypatch):
    """What a help page says, without line breaks of a narrow terminal."""
    monkeypatch.setattr(app, "console", Console(width=2000))
    monkeypatch.setattr(recipe_help, "Console", lambda **more: Console(width=2000, **more))

    def shown(*words):
        assert cli._status([*words, "--help"]) == 0
        return capsys.readouterr().out

    return shown


@pytest.mark.parametrize("chain", COMMANDS, ids=" ".join)
def test_each_command_has_an_example_that_is_accepted(chain, page):
    example = re.search(r"^Example: `recast ([^`]+)`", page(*chain), re.MULTILINE)
    assert example
    words = shlex.split(example[1])
    assert tuple(words[: len(chain)]) == chain
    understood(words)


@pytest.mark.parametrize("chain", COMMANDS, ids=" ".join)
def test_each_argument_and_option_is_explained_in_a_sentence(chain):
    for argument in command_of(chain).assemble_argument_collection(parse_docstring=True).filter_by(show=True):
        text = argument.parameter.help
        assert text, argument.name
        assert text == " ".join(text.split())
        assert text.endswith((".", "…")), text


@pytest.mark.parametrize("chain", COMMANDS, ids=" ".join)
def test_no_default_is_shown_as_python_writes_it(chain, page):
    for default in re.findall(r"\[default: (.*?)\]", page(*chain)):
        assert not re.search(r"None|True|False|[('\"{]|\d{7}", default), default


def test_defaults_are_written_as_people_write_them(page):
    assert "[default: 256 MiB]" in page("upscale")
    assert "[default: centerface]" in page("deidentify")
    assert [shown_default(v) for v in (None, False, (), "", True, 0.01, 200_000_000, ("a", "b"))] == [
        None, None, None, None, "on", "0.01", "200 million", "a, b",
    ]  # fmt: skip


@pytest.mark.parametrize("command", [*BULK, "train", "plan"])
def test_options_stand_below_headings_in_one_order(command, page):
    """The job's own first; what every job has after it."""
    titles = re.findall(r"^╭─ ([A-Z][^─]*?) ─", page(command), re.MULTILINE)
    order = ["Commands", "Arguments", "Options", *(group.name for group in GROUPS)]
    assert titles == [title for title in order if title in titles]
    assert set(titles) >= {"Arguments", "Input", "Result", "Machine", "Command"}


def test_no_option_that_jobs_share_is_left_without_a_heading():
    for command in BULK:
        for argument in app[command].assemble_argument_collection():
            assert not argument.show or argument.parameter.group != (OPTIONS,), argument.name


def test_every_heading_belongs_to_options_that_exist():
    """A field that is renamed or removed leaves none behind."""
    fields = {a.field_info.name for c in (*BULK, "train") for a in app[c].assemble_argument_collection()}
    assert {name for names in GROUPS.values() for name in names} - fields == set()


def test_the_file_of_options_is_in_the_help(page):
    assert re.search(r"--config FILE, -c FILE|--config -c FILE|--config, -c FILE", page("upscale"))


@pytest.mark.parametrize("recipe", RECIPES)
def test_help_of_a_recipe_lists_its_presets_and_settings(recipe, page):
    """With the texts that stand below them in the source."""
    shown = page("train", recipe)
    for name, text in presets(recipe).items():
        assert re.search(rf"^\W+{re.escape(name)} .*{re.escape(text)}", shown, re.MULTILINE)
    for setting in settings(recipe):
        assert re.search(rf"^\W+{setting.name} .*{re.escape(setting.meaning)}", shown, re.MULTILINE)
        assert setting.meaning.endswith((".", "…", ")", '"')) or len(setting.meaning) > 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("train pix2pixx --help", "unknown recipe 'pix2pixx'; did you mean pix2pix"),
        ("train pix2pix --data x --output y --set ngff=3", "unknown setting of pix2pix 'ngff'; did you mean ngf"),
        ("train pix2pix --data x --output y --preset dem", "unknown preset of pix2pix 'dem'; did you mean demo?"),
        ("train pix2pix --data x --output y --set norm=batchh", "one of batch, instance, none; did you mean batch?"),
        ("deidentify in out --detector centreface", "there is no centreface; did you mean centerface?"),
        ("upscale in out --model upscale-x3", "there is no upscale-x3; did you mean upscale-x"),
        ("models show pix2pix", "pix2pix is a recipe; `recast train pix2pix --help` shows its presets"),
        ("upscale in out --formt png", "did you mean --format?"),
        ("upscal in out", 'did you mean "upscale"?'),
    ],
)
def test_typos_get_the_nearest_name(words, says, capsys):
    assert cli._status(words.split()) == 2
    assert says in capsys.readouterr().err


def test_env_tells_machines_what_it_tells_people(capsys, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert cli._status(["env", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["packages"]["torch"]
    assert found["cores"] >= 1
    assert found["memory_bytes"] > 1 << 28
    assert "no Ray cluster answers" in found["ray_unreachable"]
    assert {extra["name"] for extra in found["extras"]} >= {"demo", "onnx", "deidentify"}
    assert cli._status(["env"]) == 0
    assert "no Ray cluster answers at RAY_ADDRESS=127.0.0.1:1" in capsys.readouterr().out


def test_env_says_what_is_missing_and_the_line_that_installs_it(monkeypatch):
    """A package of an extra within an extra, too."""
    import importlib.metadata

    real = importlib.metadata.version

    def version(name):
        if name == "onnxruntime":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(importlib.metadata, "version", version)
    found = {extra.name: extra for extra in extras()}
    assert "onnxruntime" in found["onnx"].missing
    assert "onnxruntime" in found["deidentify"].missing
    assert found["deidentify"].install == "pip install 'recast-gan[deidentify]'"


def test_a_shell_completes_commands_and_options(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli._status(["--install-completion", "--shell", "bash"]) == 0
    script = Path(capsys.readouterr().out.strip()).read_text()
    assert all(word in script for word in ("upscale", "--scale", "--max-failed", "train"))
