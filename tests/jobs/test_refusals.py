"""What a person meets who mistypes, leaves out, points at nothing, or at something that is there already."""

import json

import pytest
from PIL import Image

from recast.jobs import cli, demo, exit_status
from recast.jobs.specs import SpecError, place
from recast.pipeline import events, storage
from tests.pipeline.bulk.bundle_operation import upscaler
from tests.pipeline.output.test_compaction import Made, image


def refused(arguments, capsys, status=exit_status.BAD_USAGE):
    assert cli._status(arguments) == status
    (sentence,) = capsys.readouterr().err.splitlines()
    assert not any(word in sentence for word in ("pydantic", "validation error", "Field required", "Input should"))
    return sentence.removeprefix("error: ")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("train", "recast train needs RECIPE (the name of a recipe, as `recast models list` shows them); see"),
        ("train pix2pix --data x", "recast train needs --output (where checkpoints, logs and the bundle go, a local"),
        ("translate in out", "recast translate needs --model (the bundle: a folder with bundle.json"),
        ("upscale in out 4 5", "recast upscale does not take '4' and '5'"),
        ("upscale in out --scal 4", "did you mean --scale?"),
        ("upscale in out --quality many", "--quality must be a whole number, and it is 'many'"),
        ("upscale in out --quality 400", "--quality must be at most 100, and it is 400"),
        ("upscale in out --shard-bytes many", "--shard-bytes must be a size"),
        ("upscale in out --quality", "--quality needs a value"),
        ("upscale in out --format jpg", "--format must be png, jpeg or webp, and it is 'jpg'; did you mean jpeg?"),
        ("upscale in out --shard-bytes 5XB", "--shard-bytes must be a size"),
        ("train pix2pix", "recast train needs --output (where checkpoints"),
        ("train pix2pix --dta x --output y", "recast train has no option --dta; did you mean --data?"),
        ("schedule install upscale a b", "needs --cron (minute, hour, day of the month"),
        ("index get out", "needs KEY (the image's key"),
        ("index sumary x", 'did you mean "summary"?'),
        ("train pix2pix --data x --output y --workers two", "--workers can't be understood (processes that train"),
    ],
)
def test_a_mistyped_command_is_told_what_it_needs(arguments, says, capsys):
    """In one sentence, which names the page of the command that was meant."""
    said = refused(arguments.split(), capsys)
    assert says in said
    assert "`recast " in said


@pytest.mark.parametrize(
    ("yaml", "says"),
    [
        ("scal: 4\n", "the -c file has scal, and recast upscale has no such option; did you mean scale?"),
        ("a: [1,\nb: }\n", "is not readable YAML: expected the node content, but found '}' in line 2, column 4"),
        ("quality: many\n", "--quality must be a whole number, and it is 'many'"),
        ("- 1\n", "must hold a mapping"),
    ],
)
def test_a_file_of_options_is_refused_in_one_line(tmp_path, yaml, says, capsys):
    (tmp_path / "job.yaml").write_text(yaml)
    assert says in refused(["upscale", "in", "out", "-c", str(tmp_path / "job.yaml")], capsys)


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "pix2pix", "--data", "", "--output", "y"],
        ["train", "pix2pix", "--data", "x", "--output", ""],
        ["upscale", "", "out"],
        ["upscale", "in", ""],
        ["upscale", "in", "out", "--model", ""],
        ["upscale", "in", "out", "--also", ""],
        ["index", "summary", ""],
        ["models", "show", ""],
        ["sample", "shapes", ""],
    ],
)
def test_an_empty_place_is_an_unset_variable_and_never_the_working_folder(arguments, capsys):
    assert "is a shell variable unset?" in refused(arguments, capsys)


def test_a_place_keeps_what_it_was_given():
    with pytest.raises(SpecError):
        place("")
    assert place("s3://b/x") == "s3://b/x"


@pytest.mark.parametrize("command", ["summary", "verify", "extract"])
def test_an_output_that_is_not_there_is_said_to_be_not_there(tmp_path, command, capsys):
    words = ["index", command, str(tmp_path / "nowhere"), *([str(tmp_path / "to")] if command == "extract" else [])]
    assert refused(words, capsys, exit_status.FAILED) == f"there is no output at {tmp_path}/nowhere"


def test_a_bundle_that_is_not_there_is_not_said_to_lack_a_file(tmp_path, capsys):
    assert refused(["models", "show", str(tmp_path / "none")], capsys) == f"there is nothing at {tmp_path}/none"
    assert "has no bundle.json" in refused(["models", "show", str(tmp_path)], capsys)


def test_bundles_that_come_with_recast_go_by_their_names(tmp_path, capsys):
    """In `models show` and for --model; a folder of that name goes first."""
    assert cli._status(["models", "show", "upscale-x4"]) == 0
    assert json.loads(capsys.readouterr().out)["descriptor"]["scale"] == 4
    (tmp_path / "in").mkdir()
    assert cli._status(["upscale", str(tmp_path / "in"), str(tmp_path / "out"), "--model", "upscale-x4", "-n"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["spec"]["model"].endswith("models/bundles/upscale-x4")
    assert "holds no inputs" in said.err


def test_the_demo_empties_only_what_a_demo_made(tmp_path, capsys):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/thesis.txt").write_text("years of work")
    assert "no demo made" in refused(["demo", str(tmp_path / "precious"), "--local"], capsys)
    assert (tmp_path / "precious/thesis.txt").exists()
    for _ in range(2):
        demo._empty(tmp_path / "mine")
        assert [p.name for p in (tmp_path / "mine").iterdir()] == [demo.MARKER]
        (tmp_path / "mine/more").mkdir()


def test_nothing_is_written_over_without_replace(tmp_path, capsys):
    """Bundles, exports, drawings and extracted images alike."""
    model = upscaler(tmp_path / "bundle")
    (tmp_path / "file.onnx").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/0.png").write_text("mine")
    output = Made(tmp_path / "out")
    output.add({"0.png": image(0), "1.png": image(1)})
    folder, file, out = str(tmp_path / "folder"), str(tmp_path / "file.onnx"), str(tmp_path / "out")
    for words in (
        ["models", "import", file, folder],
        ["models", "export", model, file],
        ["sample", "shapes", folder],
        ["index", "get", out, "0.png", file],
    ):
        assert "--replace" in refused(words, capsys)
    assert "--replace" in refused(["index", "extract", out, folder], capsys, exit_status.FAILED)
    assert (tmp_path / "file.onnx").read_text() == (tmp_path / "folder/0.png").read_text() == "mine"
    assert cli._status(["index", "extract", out, folder, "--replace"]) == 0
    assert cli._status(["index", "extract", out, folder]) == 0
    assert (tmp_path / "folder/0.png").read_bytes() == image(0)


def test_pages_and_schedules_are_not_written_over_strangers_files(tmp_path, capsys):
    """Neither where a person sent them, nor at their own places in an output; Recast's own pages are made anew."""
    output = Made(tmp_path / "out")
    output.add({"0.png": image(0)})
    theirs = tmp_path / "thesis.html"
    theirs.write_text("<!doctype html><title>mine</title>")
    (tmp_path / "audit.json").write_text("{}")
    schedule = ["schedule", "render", "--to", "rayjob", "--name", "nightly", "--folder", str(tmp_path / "jobs")]
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs/nightly.yaml").write_text("mine")
    out = str(tmp_path / "out")
    render = [*schedule, "upscale", "s3://b/in", "s3://b/out"]
    for words in (
        ["report", out, "--to", str(theirs)],
        ["audit", out, "--to", str(theirs)],
        ["audit", out, "--to", str(tmp_path / "audit.html")],
        render,
    ):
        assert "give --replace to write over it" in refused(words, capsys)
    (tmp_path / "audit.json").write_text('{"format": "recast-audit/2", "signed_off": {"by": "Ada"}}')
    for more in ([], ["--signed-off-by", "Bea"]):
        said = refused(["audit", out, "--to", str(tmp_path / "audit.html"), *more], capsys)
        assert "audit.json exists already" in said, "what somebody has signed off stays"
    assert not (tmp_path / "audit.html").exists()
    assert (theirs.read_text(), (tmp_path / "jobs/nightly.yaml").read_text())[1] == "mine"
    (tmp_path / "out/report.html").write_text("mine, too")
    assert "out/report.html exists already" in refused(["report", out], capsys)
    for words in (["report", out, "--to", str(theirs)], render):
        for more in (["--replace"], []):
            assert cli._status([*words[:2], *more, *words[2:]]) == 0
    assert b"recast report" in theirs.read_bytes()[:1024]
    assert "kind: RayJob" in (tmp_path / "jobs/nightly.yaml").read_text()


def test_images_come_out_to_storage_too(tmp_path):
    """One by `index get`, all by `index extract`; a URL is no folder of that name here."""
    output = Made(tmp_path / "out")
    output.add({"0.png": image(0), "sub/1.png": image(1)})
    out, fs = str(tmp_path / "out"), storage.filesystem("memory://taken")[0]
    assert cli._status(["index", "get", out, "0.png", "memory://taken/one.png"]) == 0
    assert cli._status(["index", "get", out, "0.png", "memory://taken/one.png"]) == exit_status.BAD_USAGE
    for _ in range(2):
        assert cli._status(["index", "extract", out, "memory://taken/all"]) == 0
    found = {path: fs.cat_file(path) for path in fs.find("memory://taken")}
    assert found == {"/taken/one.png": image(0), "/taken/all/0.png": image(0), "/taken/all/sub/1.png": image(1)}


def test_strangers_names_can_not_command_a_terminal(tmp_path, capsys):
    """Keys with escape sequences are shown as what they are, in clashes and in what verify finds."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name / "\x1b[31mred\x07.png")
    sources = [str(tmp_path / "one"), str(tmp_path / "out"), "--also", str(tmp_path / "two")]
    said = refused(["upscale", *sources], capsys)
    assert "\\x1b[31mred\\x07.png" in said
    assert "\x1b" not in said
    output = Made(tmp_path / "made")
    output.add({"\x1b]0;title\x07.png": image(0)})
    for shard in (tmp_path / "made/shards").iterdir():
        shard.write_bytes(b"\0" * 100)
    assert cli._status(["index", "verify", str(tmp_path / "made")]) == exit_status.FAILED
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err


def test_printable_lines_keep_their_letters():
    """Letters of all scripts stay; control characters, lone surrogates and turns of direction become escapes."""
    assert events.printable("ünï 写真 😀.png") == "ünï 写真 😀.png"
    assert events.printable("a\x1b[2Jb\rc\nd") == "a\\x1b[2Jb\\rc\\nd"
    assert events.printable("gpj.\u202eexe") == "gpj.\\u202eexe"
    assert events.printable("\udcff") == "\\udcff"
