"""A known vulnerability fails `make check`; nobody to ask does not, and is said."""

import json
import subprocess

import pytest

from infra import audit

SOUND = {"name": "torch", "version": "2.13.0", "vulns": []}
SKIPPED = {"name": "ray", "skip_reason": "not found"}
FLAWED = {"name": "pillow", "version": "1.0", "vulns": [{"id": "CVE-1", "fix_versions": ["2.0"], "aliases": []}]}


@pytest.mark.parametrize(
    ("packages", "status", "says"),
    [
        ([SOUND, SKIPPED], 0, "audited 1 of 2"),
        ([SOUND, FLAWED], 1, "pillow 1.0: CVE-1, mended in 2.0"),
        (None, 0, "not audited: the name can't be resolved"),
    ],
)
def test_what_is_found_decides(packages, status, says, monkeypatch, capsys):
    def asked(*_, **__):
        answer = "" if packages is None else json.dumps({"dependencies": packages, "fixes": []})
        return subprocess.CompletedProcess([], 1, answer, "trace\nthe name can't be resolved\n")

    monkeypatch.setattr(subprocess, "run", asked)
    assert audit.main() == status
    assert says in capsys.readouterr().out
