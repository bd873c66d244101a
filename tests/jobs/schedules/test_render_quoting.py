"""What cron, systemd, Airflow and Kubernetes would run is what was asked for, whatever is in the arguments."""

import re
import shlex
import shutil
import subprocess
import sys
import types

import jinja2
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from recast.jobs.schedules import keepers, render
from recast.jobs.schedules.schedule import Schedule, ScheduleError

NASTY = (
    "a\nExecStartPre=/bin/touch /tmp/x", '"""', "\\N", "{{ 1 + 1 }}", "{% raw %}", "{% endraw %}", "{# x #}", "50%",
    "$HOME", "it's", 'say "x"', "a\\", "\\", ";", "", " ", "\t", "%h", "x.sh", "#", "\x1b[31m", "\u2028", "\x85",
    "${HOME}", "ä b", "$$", "`x`",
)  # fmt: skip
ARGUMENTS = st.lists(
    st.one_of(st.sampled_from(NASTY), st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))),
    max_size=5,
)
ALL = example(list(NASTY))


def nightly(arguments):
    return Schedule(name="nightly", cron="0 2 * * *", command=("upscale", *arguments))


def systemds(value):
    """A line's words as systemd.service(5) and systemd.syntax(7) say: quotes, escapes, specifiers, variables."""
    words, i = [], 0
    while i < len(value):
        word, quoted = bytearray(), value[i] == '"'
        i += quoted
        while i < len(value) and value[i] != ('"' if quoted else " "):
            if value[i] == "\\":
                if value[i + 1] == "x":
                    word.append(int(value[i + 2 : i + 4], 16))
                    i += 4
                    continue
                assert value[i + 1] in '"\\'
                i += 1
            elif value[i] in "%$":
                assert value[i + 1] == value[i], "a specifier or a variable"
                i += 1
            word += value[i].encode()
            i += 1
        i += 1 + quoted
        words.append(word.decode())
    return words


@given(ARGUMENTS)
@ALL
@settings(max_examples=100, deadline=None)
def test_systemd_runs_what_was_asked_for_and_nothing_else(arguments):
    text = render.systemd(nightly(arguments), render.Place())["recast-nightly.service"]
    keys = [line.partition("=")[0] for line in re.split(r"[\n\r]", text) if "=" in line and not line.startswith("#")]
    assert keys == ["Description", "Wants", "After", "Type", "ExecStart", "KillSignal", "TimeoutStopSec",
                    "NoNewPrivileges", "PrivateTmp"]  # fmt: skip
    (line,) = (line for line in text.split("\n") if line.startswith("ExecStart="))
    assert systemds(line.removeprefix("ExecStart=")) == ["/usr/bin/env", "recast", "upscale", *arguments]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd itself is the judge")
def test_systemd_itself_takes_the_units(tmp_path):
    for name, text in render.systemd(nightly(NASTY), render.Place()).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / "recast-nightly.service")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "recast-nightly" in line]
    assert said == []


def dag(text, monkeypatch):
    """What a DAG file gives Airflow: its own arguments, and its one operator's."""
    given = {}

    class Dag:
        def __init__(self, **facts):
            given.update(facts)

        def __enter__(self):
            return self

        def __exit__(self, *_): ...

    for name in ("airflow", "airflow.providers", "airflow.providers.standard", "airflow.providers.standard.operators"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    sys.modules["airflow"].DAG = Dag
    bash = types.ModuleType("bash")
    bash.BashOperator = lambda **facts: given.update(facts)
    monkeypatch.setitem(sys.modules, "airflow.providers.standard.operators.bash", bash)
    exec(compile(text, "dag.py", "exec"), {})
    return given


@given(ARGUMENTS)
@ALL
@settings(max_examples=100, deadline=None)
def test_airflow_runs_what_was_asked_for_and_parsing_the_dag_runs_nothing(arguments):
    (text,) = render.airflow(nightly(arguments), render.Place()).values()
    with pytest.MonkeyPatch.context() as patch:
        given = dag(text, patch)
    command = given["bash_command"]
    assert not command.endswith((".sh", ".bash"))  # which Airflow would take for a template's file
    rendered = jinja2.Environment().from_string(command).render(**given["user_defined_macros"])
    assert shlex.split(rendered) == ["recast", "submit", "--follow", "upscale", *arguments]


@given(ARGUMENTS)
@ALL
@settings(max_examples=15, deadline=None)
def test_kubernetes_runs_what_was_asked_for(arguments):
    (text,) = render.rayjob(nightly(arguments), render.Place()).values()
    job = yaml.safe_load(text)
    assert shlex.split(job["spec"]["entrypoint"]) == ["python", "-m", "recast", "upscale", *arguments]
    (text,) = render.kubernetes(nightly(arguments), render.Place()).values()
    (held,) = (each for each in yaml.safe_load_all(text) if each["kind"] == "ConfigMap")
    assert yaml.safe_load(held["data"]["rayjob.yaml"]) == job


@given(st.text(st.characters(exclude_characters="\0\n\r", exclude_categories=["Cs"])))
@example("50% of it's $HOME `x`")
@settings(max_examples=50, deadline=None)
def test_a_crontabs_line_says_to_its_shell_what_was_meant(text):
    line = keepers._quoted(text)
    assert not re.search(r"(?<!\\)%", line)
    shell = line.replace("\\%", "%")  # as cron itself does
    done = subprocess.run(["/bin/sh", "-c", f"printf %s {shell}"], capture_output=True, check=True)
    assert done.stdout.decode() == text


def test_a_line_break_can_not_get_into_a_crontab():
    with pytest.raises(ScheduleError, match="line break"):
        keepers._quoted("a\n* * * * * rm -rf /")
