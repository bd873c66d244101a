"""What cron takes is taken, and means the same to systemd."""

import shutil
import subprocess

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recast.jobs.schedules.cron import FIELDS, Cron


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0 2 * * *", "0 2 * * *"),
        ("@daily", "0 0 * * *"),
        ("*/15 8-18/2 1,15 jan-mar mon,FRI", "*/15 8-18/2 1,15 1-3 1,5"),
        ("59 23 31 12 7", "59 23 31 12 7"),
    ],
)
def test_crons_words_become_numbers(text, numbers):
    assert Cron.parsed(text).text == numbers


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("0 2 * *", "has 4 fields; cron has five"), ("60 * * * *", "'60' is not a valid minute; it must be in 0 to 59"),
        ("0 24 * * *", "not a valid hour"),
        ("0 0 0 * *", "not a valid day of the month"),
        ("0 0 * 13 *", "not a valid month"),
        ("0 0 * * 8", "not a valid day of the week"), ("0 0 * * wed-mon", "ends before it begins"),
        ("*/0 * * * *", "'*/0'"),
        ("a b c d e", "'a' is not a valid minute"), ("@never", "has 1 field;"), ("1;rm * * * *", "not a valid minute"),
        ("0 0 L * *", "'l' is not a valid day of the month"), ("0 0 * * 1#2", "'1#2' is not a valid day of the week"),
        ("0 0 * * mon-", "not a valid day of the week"), ("0 0 1-5-7 * *", "'1-5-7' is not a valid day of the month"),
        ("0 0 31 2,4 *", "never comes due: none of its months"), ("0 0 * 2-1 *", "ends before it begins"),
    ],
)  # fmt: skip
def test_what_no_cron_takes_is_refused_in_a_sentence(text, says):
    with pytest.raises(ValueError, match=says.replace("*", r"\*")):
        Cron.parsed(text)


@pytest.mark.parametrize(
    ("text", "calendar"),
    [
        ("0 2 * * *", ["*-*-* 2:0:00"]),
        ("*/15 * * * *", ["*-*-* *:0/15:00"]),
        ("5,35 1-9/2 1-7 2 *", ["*-2-1..7 1..9/2:5,35:00"]),
        ("0 0 * * 1-5", ["Mon,Tue,Wed,Thu,Fri *-*-* 0:0:00"]),
        ("0 0 * * 0,7", ["Sun *-*-* 0:0:00"]),
        ("0 0 13 * 5", ["Fri *-*-* 0:0:00", "*-*-13 0:0:00"]),
        ("0 0 * * */2", ["Tue,Thu,Sat,Sun *-*-* 0:0:00"]),
        ("0 0 */2 * 1", ["Mon *-*-1/2 0:0:00"]),
    ],
)
def test_systemd_is_told_the_same(text, calendar):
    given = Cron.parsed(text).on_calendar()
    assert given == calendar
    if shutil.which("systemd-analyze"):
        subprocess.run(["systemd-analyze", "calendar", *given], check=True, capture_output=True)


def field(low, high):
    number = st.integers(low, high)
    spans = st.tuples(number, number).map(lambda pair: f"{min(pair)}-{max(pair)}")
    part = st.one_of(st.just("*"), number.map(str), spans, st.integers(1, 9).map(lambda n: f"*/{n}"))
    return st.lists(part, min_size=1, max_size=3).map(",".join)


@given(st.tuples(*(field(low, high) for _, low, high in FIELDS)))
def test_anything_in_range_is_taken(fields):
    text = " ".join(fields)
    assume("29" not in fields[2] and "30" not in fields[2] and "31" not in fields[2])  # not every month has these
    assert Cron.parsed(text).text == text
    assert Cron.parsed(text).on_calendar()
