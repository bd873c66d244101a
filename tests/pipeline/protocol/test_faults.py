"""The tests of the protocol can fail: each of these faults, planted into the product, is found by one of them."""

from functools import cache

import pytest

from tests.pipeline.protocol import checks, faults
from tests.pipeline.protocol.checks import Check, broken, scheduled, undisturbed
from tests.pipeline.protocol.faults import Plant
from tests.pipeline.protocol.simulation import simulated
from tests.pipeline.protocol.training import CHECKPOINTS

FAULTS: dict[Plant, Check] = {
    faults.settle_dropped: scheduled(checks.two_beginners, conditions=False),
    faults.fragment_before_shard: broken("run", "after", "PUT b/out/index", most=2),
    faults.seals_after_fragment: broken("deidentify with seals", "after", "PUT b/out/index", most=2),
    faults.epoch_ignored: scheduled(checks.late_commit),
    faults.clock_first: scheduled(checks.wrong_clock),
    faults.lease_not_checked: scheduled(checks.late_shard),
    faults.renewal_unconditional: scheduled(checks.late_renewal),
    faults.takeover_unconditional: scheduled(checks.two_takers),
    faults.creation_unconditional: scheduled(checks.two_beginners),
    faults.names_without_epoch: scheduled(checks.there_and_back),
    faults.released_lease_deleted: scheduled(checks.finished),
    faults.shards_swept_first: broken("replace", "after", "DELETE b/out/shards", most=2),
    faults.stragglers_not_awaited: scheduled(checks.late_commit_into_a_sweep),
    faults.old_removed_before_new: broken("compact", "before", "PUT b/out/shards", most=2),
    faults.compaction_drops_epoch: scheduled(checks.late_commit_after_compaction),
    faults.seals_moved_by_key: undisturbed("compact with seals"),
    faults.pruned_while_damaged: undisturbed("prune with a damaged archive"),
    faults.hashes_for_keys: checks.colliding_hashes,
    faults.layout_by_attempt: undisturbed("run"),
    faults.attempts_not_taken_back: broken("run whose workers die", "after", "PUT b/out/shards"),
    faults.mark_ignored: undisturbed("verify and repair"),
    faults.replaced_removed_first: broken("replace", "before", "PUT b/out/shards", most=2),
    faults.retried_rows_lost: broken("retry", "before", "PUT b/out/shards", most=2),
    faults.old_checkpoints_first: broken(CHECKPOINTS, "before", "PUT b/training/checkpoints", most=2),
    faults.checkpoint_before_bundle: broken(CHECKPOINTS, "after", "PUT b/training/checkpoints"),
    faults.lock_made_anew: checks.lost_lock,
}
"""Each with the smallest check that finds it."""


@cache
def passes(check: Check) -> bool:
    """Whether a check has nothing to find in the product as it is."""
    check()
    return True


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found(plant: Plant):
    """The check passes without the fault, and fails with it."""
    with simulated():
        assert passes(FAULTS[plant])
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            with pytest.raises((AssertionError, pytest.fail.Exception)):
                FAULTS[plant]()
