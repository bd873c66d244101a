"""`recast evaluate`: how good results are, in the field's measures."""

import json
from typing import Annotated, Any

from cyclopts import App, Parameter

from recast.jobs.exit_status import DONE
from recast.jobs.specs import SpecError, place
from recast.pipeline import events

evaluate_app = App(name="evaluate", help="Measure the quality of results, or of a de-identification.")


@evaluate_app.command
def images(
    results: str,
    targets: str,
    *,
    loss_network: str | None = None,
    lpips_weights: str | None = None,
    luma: bool = False,
    border: int = 0,
    unpaired: bool = False,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Compare the images of RESULTS (an output, folder, archive…) with those of TARGETS that have the same names.

    PSNR and SSIM; with --loss-network LPIPS, and the Frechet distance in that network's last features.

    Parameters
    ----------
    luma
        PSNR and SSIM of the luma alone (Y of BT.601), as papers on upscaling give them.
    border
        Pixels at each side that PSNR and SSIM leave out; papers on upscaling leave out as many as the scale.
    unpaired
        The two sets don't belong together by their names: the Frechet distance alone. It needs --loss-network.
    loss_network
        VGG16 as published (.pth, .safetensors), or a bundle of the classifier recipe.
    lpips_weights
        LPIPS's published linear weights for VGG16; without them its channels count alike.
    as_json
        Print the result as JSON.
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
    originals: str,
    output: str,
    *,
    faces: str,
    recognizer: str | None = None,
    restored: str | None = None,
    restored_wrong: str | None = None,
    detector: tuple[str, ...] = (),
    loss_network: str | None = None,
    lpips_weights: str | None = None,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Measure OUTPUT, made by `recast deidentify` of ORIGINALS, against what is known to be in them.

    Parameters
    ----------
    faces
        A table of the faces in the originals: key; left, top, right, bottom (or box); perhaps identity.
    recognizer
        A bundle of `recast train recognizer`: how often people are recognised before and after.
    restored
        What `recast restore` made of OUTPUT with the right passcode.
    restored_wrong
        What `recast restore` made of OUTPUT with a wrong passcode.
    detector
        centerface, cascades or a retinaface bundle: how often there is still a face where one was replaced.
    loss_network
        VGG16 as published, or a bundle of the classifier recipe: LPIPS between faces before and after.
    lpips_weights
        LPIPS's published linear weights for VGG16; without them its channels count alike.
    as_json
        Print the result as JSON.
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
