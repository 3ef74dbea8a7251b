from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st

from node.core.model import SAMPLE_RATE, at_sample, iso, parse_iso

MOMENT = datetime(2026, 11, 22, 10, 0, 1, 200_900, tzinfo=UTC)


def test_times_are_utc_with_milliseconds() -> None:
    assert iso(MOMENT) == "2026-11-22T10:00:01.200Z"
    assert iso(MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))) == iso(MOMENT)
    assert iso(MOMENT.replace(microsecond=0)) == "2026-11-22T10:00:01.000Z"


@settings(max_examples=30, deadline=None)
@given(st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # st adds it
def test_a_time_is_read_as_it_was_written(moment: datetime) -> None:
    written = iso(moment)
    assert iso(parse_iso(written)) == written
    assert timedelta() <= moment - parse_iso(written) < timedelta(milliseconds=1)


def test_a_sample_has_a_wall_time() -> None:
    assert at_sample(MOMENT, 0) == MOMENT
    assert at_sample(MOMENT, 3600 * SAMPLE_RATE) == MOMENT + timedelta(hours=1)
    assert at_sample(MOMENT, 1) == MOMENT + timedelta(microseconds=62)
