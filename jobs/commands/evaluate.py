"""`recast evaluate`: how good results are, in the field's measures."""

import json
from typing import Annotated, Any

from cyclopts import Parameter

from recast.jobs.app import Commands
from recast.jobs.arguments import BulkOutput, DeidentifiedOutput, Json, SourceImages
from recast.jobs.exit_status import DONE
from recast.jobs.headings import RESULTS
from recast.jobs.specs import SpecError, place
from recast.pipeline import events

evaluate_app = Commands(
    name="evaluate", group=RESULTS, help="Measure the quality of results, or of a de-identification."
)


@evaluate_app.command
def images(
    results: Annotated[str, Parameter(help="The images to judge: an output, a folder, an archive, or any SOURCE.")],
    targets: Annotated[
        str, Parameter(help="The images they should be: an output, a folder, an archive, or any SOURCE.")
    ],
    *,
    loss_network: str | None = None,
    lpips_weights: str | None = None,
    luma: bool = False,
    border: int = 0,
    unpaired: bool = False,
    as_json: Json = False,
) -> int:
    """Compare the images of RESULTS with the images of TARGETS that have the same names.

    It gives PSNR and SSIM; with --loss-network also LPIPS, and the Frechet distance in that network's last features.

    Example: `recast evaluate images upscaled/ originals/ --luma --border 4`

    Parameters
    ----------
    luma
        Measure PSNR and SSIM of the luma alone (Y of BT.601), as papers on upscaling do.
    border
        Pixels at each side that PSNR and SSIM leave out; papers on upscaling leave out as many as the scale.
    unpaired
        Measure the Frechet distance alone, for sets whose images don't belong together by their names; this needs
        --loss-network.
    loss_network
        VGG16 as published (.pth, .safetensors), or a bundle of the classifier recipe.
    lpips_weights
        LPIPS's published linear weights for VGG16; without them all channels count alike.
    """
    from recast.pipeline.evaluation.images import compare

    if border < 0:
        raise SpecError(f"--border is {border}; it must be at least 0")
    if unpaired and loss_network is None:
        raise SpecError("--unpaired needs a --loss-network, whose features the Frechet distance compares")
    network = _lpips(loss_network, lpips_weights)
    found = compare(place(results), place(targets), network, on_luma=luma, border_px=border, unpaired=unpaired)
    return _say(found, as_json)


@evaluate_app.command
def deidentify(
    originals: SourceImages,
    output: DeidentifiedOutput,
    *,
    faces: str,
    recognizer: str | None = None,
    restored: str | None = None,
    restored_wrong: str | None = None,
    detector: tuple[str, ...] = (),
    loss_network: str | None = None,
    lpips_weights: str | None = None,
    as_json: Json = False,
) -> int:
    """Measure a de-identification of ORIGINALS against a table of the faces that are known to be in them.

    Example: `recast evaluate deidentify faces/people/test clean/ --faces faces/people/test.parquet`

    Parameters
    ----------
    faces
        A table of the faces in the originals; it has columns key, left, top, right, bottom (or box), and perhaps
        identity.
    recognizer
        A bundle of `recast train recognizer`, to measure how often people are recognised before and after.
    restored
        The output that `recast restore` made of OUTPUT with the right passcode.
    restored_wrong
        The output that `recast restore` made of OUTPUT with a wrong passcode.
    detector
        A detector (centerface, cascades or a retinaface bundle), to measure how often it still finds a face where one
        was replaced; may be given several times.
    loss_network
        VGG16 as published, or a bundle of the classifier recipe, to measure LPIPS between faces before and after.
    lpips_weights
        LPIPS's published linear weights for VGG16; without them all channels count alike.
    """
    from recast.pipeline import bundles
    from recast.pipeline.evaluation.deidentification import Instruments, evaluate
    from recast.pipeline.regions.registry import built_detectors
    from recast.pipeline.regions.tables import RegionTable

    back = {"restored": restored, "restored with a wrong passcode": restored_wrong}
    try:
        found = evaluate(
            place(originals),
            place(output),
            RegionTable(place(faces)),
            Instruments(
                recognizer=bundles.fetch(place(recognizer)) if recognizer else None,
                lpips=_lpips(loss_network, lpips_weights),
                detectors=built_detectors(detector),
            ),
            {name: place(url) for name, url in back.items() if url},
        )
    except ValueError as fault:
        raise SpecError(str(fault)) from fault
    return _say(found.to_json(), as_json)


@evaluate_app.command
def annotations(output: BulkOutput, *, truth: str, as_json: Json = False) -> int:
    """Measure the regions of OUTPUT against what is there: COCO's average precision of boxes, masks and keypoints.

    Example: `recast evaluate annotations found/ --truth instances.json`

    Parameters
    ----------
    truth
        COCO's JSON, whose `file_name` is the image's key; categories are matched by name.
    """
    from recast.pipeline.evaluation.annotations import judged

    return _say(judged(place(output), place(truth)), as_json)


def _lpips(loss_network: str | None, lpips_weights: str | None) -> Any:
    if loss_network is None:
        if lpips_weights:
            raise SpecError("--lpips-weights are for a --loss-network")
        return None
    from recast.models import foreign
    from recast.models.metrics.lpips import LPIPS
    from recast.models.networks.vgg import vgg_of
    from recast.pipeline import storage
    from recast.pipeline.training.assets import loss_network_weights

    linear = None
    if lpips_weights:
        fs, path = storage.filesystem(place(lpips_weights))
        with storage.faults_as_sentences(f"reading {lpips_weights}"):
            linear = foreign.load(storage.read_bytes(fs, path), lpips_weights)
    try:
        return LPIPS(vgg_of(loss_network_weights(place(loss_network))[0]), linear)
    except ValueError as fault:
        raise SpecError(str(fault)) from fault


def _say(facts: dict[str, Any], as_json: bool) -> int:
    if as_json:
        print(json.dumps(facts))
        return DONE
    for name, value in _flat(facts):
        shown = f"{value:.4g}" if isinstance(value, float) else value
        print(f"{name:52} {shown}")
    for note in facts.get("notes", ()):
        events.say(f"note: {note}")
    for fault in _unread(facts):
        events.say(f"unreadable: {fault}")
    for key in facts.get("missed", ()):
        events.say(f"a face was missed in {key}")
    return DONE


def _unread(facts: dict[str, Any]) -> list[str]:
    found = facts.get("faults", facts.get("unreadable"))
    return found if isinstance(found, list) else []


def _flat(facts: dict[str, Any], above: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in facts.items():
        title = f"{above} {name}".strip().replace("_", " ")
        if isinstance(value, dict):
            rows += _flat(value, title)
        elif value is not None and not isinstance(value, list):
            rows.append((title, value))
    return rows
