"""What the documentation shows works as it says, and its links lead somewhere."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from recast.jobs.cli import app
from recast.models.recipes import RECIPES

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_to_files_that_are_there(page):
    prose = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", prose)
    inside = [link.partition("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_every_recipe_has_a_page_with_its_presets():
    pages = "\n".join(path.read_text() for path in (ROOT / "docs" / "recipes").glob("*.md"))
    for name, entry in RECIPES.items():
        assert f"recast train {name} " in pages
        assert all(f"`{preset}`" in pages for preset in entry.presets)


def test_the_reference_of_commands_is_up_to_date(monkeypatch):
    """`make docs` writes it anew."""
    monkeypatch.setattr(sys, "argv", ["recast"])  # which the usage lines tell of
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    written = (ROOT / "docs/reference/commands.md").read_text()
    assert written.strip() == app.generate_docs(output_format="markdown", usage_name="recast").strip()


def test_why_gans_runs(tmp_path):
    """Too short to see the effect, which takes a minute: that it runs and draws."""
    target = tmp_path / "why.png"
    script = ROOT / "docs" / "examples" / "why_gans.py"
    subprocess.run([sys.executable, str(script), str(target), "2"], check=True, capture_output=True)
    with Image.open(target) as drawn, Image.open(ROOT / "docs" / "images" / "why-gans.png") as shown:
        assert drawn.size == shown.size


def images_of(page: Path) -> list[Path]:
    """The files that a page shows, by their links."""
    shown = re.findall(r"!\[[^\]]+\]\(([^)\s]+)\)", page.read_text())
    return [(page.parent / link).resolve() for link in shown if "://" not in link]


def test_every_picture_is_small_and_shown_on_a_page():
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    assert [p.name for p in pictures if p.stat().st_size > 120_000] == []
    assert set(pictures) <= {image for page in PAGES for image in images_of(page)}
    for picture in pictures:
        if picture.suffix != ".svg":
            with Image.open(picture) as image:
                assert max(image.size) <= 2000
                image.verify()


JOB_PAGES = [
    "README.md", "docs/annotate.md", "docs/bulk.md", "docs/concepts.md", "docs/deidentify.md",
    "docs/training.md", "docs/upscalers.md",
    *sorted(str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "tutorials").glob("*.md")),
]  # fmt: skip
UNSEEN = {"passcode", "srgan", "style-transfer"}
"""Recipes' pages that have no picture yet: a training that is worth one takes hours."""
RECIPE_PAGES = sorted(
    str(page.relative_to(ROOT)) for page in (ROOT / "docs" / "recipes").glob("*.md") if page.stem not in UNSEEN
)


@pytest.mark.parametrize("page", [*JOB_PAGES, *RECIPE_PAGES])
def test_every_page_of_a_job_and_of_a_recipe_shows_what_it_makes(page):
    assert images_of(ROOT / page)


def test_make_pictures_knows_every_picture():
    """Each is a page's or a recipe's that `make pictures` makes, but what is drawn by hand or by an example."""
    known = re.findall(r'^    "([a-z0-9-]+)": ', (ROOT / "docs" / "pictures.py").read_text(), re.MULTILINE)
    others = {"why-gans.png", "roads.svg"}
    shown = {p.stem for p in (ROOT / "docs" / "images").iterdir() if p.name not in others}
    assert shown <= set(known)


def test_the_readme_opens_with_pictures_and_shows_the_page():
    names = [image.name for image in images_of(ROOT / "README.md")]
    assert names[:3] == ["upscaled.webp", "deidentified.webp", "report.webp"]


def test_the_tips_on_training_name_options_and_settings_that_exist():
    """Advice that the next command refuses would be worse than none."""
    text = (ROOT / "docs/training-tips.md").read_text()
    options = {flag for each in app["train"].assemble_argument_collection() for flag in each.names}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) - options <= {"--logdir", "--help"}
    presets = [preset for entry in RECIPES.values() for preset in entry.presets.values()]
    settings = {field.name for preset in presets for field in dataclasses.fields(preset)}
    named = set(re.findall(r"`(?:--set )?([a-z][a-z0-9_]+)(?:=[^`]*)?`", text))
    assert {"lambda_l1", "adversarial_weight", "ndf", "learning_rate"} <= named & settings
    assert named - settings - set(RECIPES) <= {"diversity"}
