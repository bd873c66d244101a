"""Deaths are counted against the image that was in hand, and only twice is guilt."""

from recast.pipeline.bulk.attempts import FATAL_DEATHS, MOST_ATTEMPTS, Attempts


def test_a_first_attempt_is_fast_and_the_next_is_careful():
    ledger = Attempts()
    assert not ledger.begin("u").careful
    assert ledger.begin("u").careful


def test_a_unit_that_was_done_starts_afresh():
    ledger = Attempts()
    ledger.begin("u")
    ledger.finish("u")
    assert not ledger.begin("u").careful


def test_the_image_in_hand_at_two_deaths_is_condemned_and_no_other():
    ledger = Attempts()
    ledger.begin("u")
    for _ in range(FATAL_DEATHS):
        assert not ledger.begin("u").condemned
        ledger.start("u", "innocent")
        ledger.start("u", "poison")
    assert ledger.begin("u").condemned == {"poison"}


def test_several_poisonous_images_are_found_one_after_the_other():
    ledger, poison = Attempts(), {"b", "d"}
    for _ in range(20):
        attempt = ledger.begin("u")
        for key in sorted({"a", "b", "c", "d"} - attempt.condemned):
            ledger.start("u", key)
            if key in poison:
                break
        else:
            break
    assert attempt.condemned == poison
    assert not attempt.exhausted


def test_deaths_without_an_image_to_blame_come_to_an_end():
    ledger = Attempts()
    assert not any(ledger.begin("u").exhausted for _ in range(MOST_ATTEMPTS))
    assert ledger.begin("u").exhausted
