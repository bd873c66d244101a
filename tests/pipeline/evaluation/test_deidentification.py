"""`recast evaluate deidentify` ends because of no single image."""

import json

from recast.jobs import cli
from tests.pipeline.bulk.test_road import image


def test_what_can_not_be_measured_is_named_and_the_rest_is_measured(tmp_path, worker_here, capsys):
    """A damaged original and one that is gone are told of; the third image's face counts."""
    rows = []
    for number in range(3):
        image(tmp_path / "photos" / f"{number}.png", number, (64, 64))
        rows.append({"key": f"{number}.png", "box": [10, 10, 30, 30]})
    (tmp_path / "faces.json").write_text(json.dumps(rows))
    source, output, faces = (str(tmp_path / name) for name in ("photos", "out", "faces.json"))
    assert cli._status(["deidentify", source, output, "--detector", "none", "--boxes", faces]) == 0
    whole = (tmp_path / "photos" / "0.png").read_bytes()
    (tmp_path / "photos" / "0.png").write_bytes(whole[:200])
    (tmp_path / "photos" / "1.png").unlink()
    capsys.readouterr()
    assert cli._status(["evaluate", "deidentify", source, output, "--faces", faces, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["without_original"], found["of_another_size"]) == (3, 1, 0)
    assert [fault.partition(":")[0] for fault in found["unreadable"]] == ["0.png"]
    assert found["psnr_db"]["after"] > 0
    (tmp_path / "photos" / "2.png").unlink()
    assert cli._status(["evaluate", "deidentify", source, output, "--faces", faces]) == 0
    assert "unreadable: 0.png: " in capsys.readouterr().err
