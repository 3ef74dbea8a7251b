from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from node.core.metrics import Metric, metrics
from node.core.model import Assignment, MicInfo
from node.core.roster import Live, Roster

if TYPE_CHECKING:
    from node.core.mqtt.payloads import HealthPayload, SessionPayload

HEALTH: dict[str, Any] = {
    "uptime_s": 60.5,
    "outbox": 3,
    "set_aside": 1,
    "backlog_s": 12.5,
    "rtf": 0.25,
    "lag_s": 0.5,
    "load": "together",
    "dropped_s": 1.5,
    "reconnects": 2,
    "rss_mb": 300.0,
    "cpu_percent": 150.0,
    "temperature_c": 48.5,
    "disk_free_mb": 1000.0,
    "mic_lag_s": {"desk": 0.0, "door": None},
}
SESSION: dict[str, Any] = {
    "state": "recording",
    "session_id": "20261122T100000Z-3f9c",
    "title": "Secret plans",
    "started_at": "2026-11-22T10:00:00.000Z",
    "speakers": {"desk": "Alice"},
    "segments_total": 7,
    "backlog_s": 12.5,
    "message": "about Alice",
    "problem": None,
    "finishing": ["20261122T090000Z-3f9c"],
}


def found(*, connected: bool = True, **changes: Any) -> dict[str, Metric]:
    roster = Roster()
    roster.found([MicInfo("desk", "USB Audio"), MicInfo("door", "USB Audio")])
    roster.assign({"desk": Assignment("Alice")})
    roster.set_live("desk", Live(True, -31.5, 16000))
    told = metrics(
        cast("HealthPayload", {**HEALTH, **changes}),
        cast("SessionPayload", {**SESSION, **changes}),
        roster.payloads(),
        connected=connected,
        version="1.2.3",
    )
    assert len({metric.name for metric in told}) == len(told)
    return {metric.name: metric for metric in told}


def values(metric: Metric) -> dict[str, float]:
    return {"".join(labels.values()): value for labels, value in metric.values}


def test_figures_come_in_base_units() -> None:
    told = found()
    single = {
        "scribe_broker_connected": 1.0,
        "scribe_uptime_seconds": 60.5,
        "scribe_outbox_messages": 3.0,
        "scribe_set_aside": 1.0,
        "scribe_backlog_seconds": 12.5,
        "scribe_real_time_factor": 0.25,
        "scribe_lag_seconds": 0.5,
        "scribe_dropped_speech_seconds_total": 1.5,
        "scribe_reconnects_total": 2.0,
        "scribe_resident_memory_bytes": 300.0 * 1024 * 1024,
        "scribe_cpu_ratio": 1.5,
        "scribe_temperature_celsius": 48.5,
        "scribe_disk_free_bytes": 1000.0 * 1024 * 1024,
        "scribe_session_segments": 7.0,
        "scribe_sessions_finishing": 1.0,
    }
    assert {name: values(told[name]) for name in single} == {
        name: {"": value} for name, value in single.items()
    }
    assert values(found(connected=False)["scribe_broker_connected"]) == {"": 0.0}


def test_one_of_several_states_is_1() -> None:
    told = found()
    assert values(told["scribe_session_state"]) == {
        "idle": 0.0,
        "starting": 0.0,
        "recording": 1.0,
        "stopping": 0.0,
        "error": 0.0,
    }
    load = values(told["scribe_load"])
    assert (load["together"], sum(load.values())) == (1.0, 1.0)
    assert values(told["scribe_build_info"]) == {"1.2.3": 1.0}


def test_microphones_are_told_by_their_ids() -> None:
    told = found()
    assert values(told["scribe_mic_connected"]) == {"desk": 1.0, "door": 1.0}
    assert values(told["scribe_mic_recording"]) == {"desk": 1.0, "door": 0.0}
    assert values(told["scribe_mic_level_dbfs"]) == {"desk": -31.5}
    assert values(told["scribe_mic_lag_seconds"]) == {"desk": 0.0}


def test_what_is_not_known_is_left_out() -> None:
    told = found(rtf=None, temperature_c=None, mic_lag_s={})
    absent = {"scribe_real_time_factor", "scribe_temperature_celsius", "scribe_mic_lag_seconds"}
    assert found().keys() - told.keys() == absent


def test_counters_and_only_they_are_named_total() -> None:
    for metric in found().values():
        assert metric.counter is metric.name.endswith("_total")
        assert re.fullmatch(r"scribe_[a-z_]+", metric.name)
        assert metric.meaning.endswith(".")


def test_no_word_of_people_is_told() -> None:
    told = repr(found())
    assert "Alice" not in told
    assert "Secret" not in told
