"""`recast deidentify --preview`: what would become of a few images, on a page, before an archive is paid for."""

import dataclasses
import json
import secrets
import tempfile

from recast.jobs.existing import new_file
from recast.jobs.exit_status import DONE
from recast.jobs.progress import BulkProgress
from recast.jobs.specs import DeidentifyOptions, place
from recast.pipeline import events, report, storage
from recast.pipeline.bulk import road
from recast.pipeline.bulk.job import BulkJob
from recast.pipeline.bulk.sizing import sampled
from recast.pipeline.deidentify.operation import deidentifying
from recast.pipeline.deidentify.secrets.seal import Secret
from recast.pipeline.sources.inventory import inventory


def preview(source: str, output: str, options: DeidentifyOptions, count: int) -> int:
    """De-identify a random sample of SOURCE into a scratch folder, and write a page about it into OUTPUT.

    Nothing is sealed, and no name hidden: no passcode is asked for. New faces are painted by codes of a passcode that
    nobody knows. Returns the exit status.
    """
    page = report.preview_place(place(output))
    new_file(page, replace=options.settings.replace, own=report.is_page)
    asked = dataclasses.replace(options.asked(), seal=False, names="plain")
    passcode = Secret(secrets.token_bytes(32)) if asked.model else None
    with tempfile.TemporaryDirectory(prefix="recast-preview-") as folder:
        inside = storage.join(folder, place(output).rstrip("/").rpartition("/")[2] or "output")
        job = _of_sample(options.job("deidentify", source, output, making=asked.deciding()), inside)
        inputs, chosen = sampled(inventory(job.source), count, seed=0)
        if not inputs:
            events.say(f"warning: {job.source} holds no inputs")
            return DONE
        operation = dataclasses.replace(deidentifying(asked, inside, passcode), joins=lambda _: iter(chosen))
        with BulkProgress("preview", page) as progress:
            summary = road.run(job, progress, operation)
        report.write_preview(inside, page, sample=count, inputs=inputs, of=place(output))
    facts = {"page": page, "inputs": inputs, "sampled": len(chosen), "ok": summary.ok, "held": summary.held}
    if options.as_json:
        print(json.dumps(facts))
        return DONE
    print(
        f"{page}: of {len(chosen):,} images sampled from {inputs:,}, {summary.ok:,} would be published and "
        f"{summary.held:,} held"
    )
    return DONE


def _of_sample(job: BulkJob, output: str) -> BulkJob:
    """The job into a scratch folder, without what is about a whole archive; its own output is still no source."""
    return dataclasses.replace(job, output=output, prune=False, replace=False, limit=None)
