"""What Prometheus is told: figures and states, no words, titles or names of people.

Names follow prometheus.io/docs/practices/naming: base units, `_total` for what only grows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from node.core.model import MB
from node.core.mqtt.payloads import StateName
from node.core.overload import LoadName

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from node.core.mqtt.payloads import HealthPayload, MicPayload, SessionPayload


@dataclass(frozen=True, slots=True)
class Metric:
    """A figure, one for each set of labels; `counter`: it only grows, until the next start."""

    name: str
    meaning: str
    values: tuple[tuple[dict[str, str], float], ...]
    counter: bool = False


def metrics(
    health: HealthPayload,
    session: SessionPayload,
    mics: Sequence[MicPayload],
    *,
    connected: bool,
    version: str,
) -> list[Metric]:
    """All metrics; those that this machine or moment has no figure for are left out."""
    found = [
        Metric("scribe_build_info", "Version of the node.", (({"version": version}, 1.0),)),
        _one("scribe_broker_connected", "1 if the MQTT broker is connected.", float(connected)),
        *_of_health(health),
        _choice("scribe_load", "1 for what is given up under load.", "load", LOADS, health["load"]),
        _choice(
            *("scribe_session_state", "1 for the state on T/session.", "state"),
            *(STATES, session["state"]),
        ),
        _one(
            "scribe_session_segments",
            "Segments of the session on T/session.",
            session["segments_total"],
        ),
        _one(
            "scribe_sessions_finishing",
            "Sessions that are recorded and still being written.",
            len(session["finishing"]),
        ),
        *_of_mics(mics, health["mic_lag_s"]),
    ]
    return [metric for metric in found if metric.values]


LOADS: tuple[str, ...] = get_args(LoadName)
STATES: tuple[str, ...] = get_args(StateName)


def _of_health(health: HealthPayload) -> list[Metric]:
    return [
        _one("scribe_uptime_seconds", "Time since the process began.", health["uptime_s"]),
        _one("scribe_outbox_messages", "Messages that wait for the broker.", health["outbox"]),
        _one("scribe_set_aside", "Damaged rows and refused messages kept.", health["set_aside"]),
        _one("scribe_backlog_seconds", "Speech that waits for the engine.", health["backlog_s"]),
        _one("scribe_real_time_factor", "Work per second of speech.", health["rtf"]),
        _one("scribe_lag_seconds", "How late text comes.", health["lag_s"]),
        _total("scribe_dropped_speech_seconds_total", "Speech lost.", health["dropped_s"]),
        _total("scribe_reconnects_total", "Reconnects to the broker.", health["reconnects"]),
        _one("scribe_resident_memory_bytes", "Memory of the process.", health["rss_mb"] * MB),
        _one("scribe_cpu_ratio", "Processor cores used.", health["cpu_percent"] / 100),
        _one("scribe_temperature_celsius", "Of the processor.", health["temperature_c"]),
        _one("scribe_disk_free_bytes", "Free at storage.path.", health["disk_free_mb"] * MB),
    ]


def _of_mics(mics: Sequence[MicPayload], lags_s: dict[str, float | None]) -> list[Metric]:
    return [
        _each(
            "scribe_mic_connected",
            "1 if the microphone is there.",
            ((mic["mic"], mic["connected"]) for mic in mics),
        ),
        _each(
            "scribe_mic_recording",
            "1 if a session records it.",
            ((mic["mic"], mic["recording"]) for mic in mics),
        ),
        _each(
            "scribe_mic_level_dbfs",
            "Level in dB below full scale.",
            ((mic["mic"], mic["level_dbfs"]) for mic in mics),
        ),
        _each(
            "scribe_mic_lag_seconds",
            "How much later it hears than the earliest one.",
            lags_s.items(),
        ),
    ]


def _one(name: str, meaning: str, value: float | None) -> Metric:
    return Metric(name, meaning, () if value is None else (({}, float(value)),))


def _total(name: str, meaning: str, value: float) -> Metric:
    return Metric(name, meaning, (({}, float(value)),), counter=True)


def _choice(name: str, meaning: str, label: str, choices: Iterable[str], chosen: str) -> Metric:
    values = (({label: choice}, float(choice == chosen)) for choice in choices)
    return Metric(name, meaning, tuple(values))


def _each(name: str, meaning: str, values: Iterable[tuple[str, float | None]]) -> Metric:
    known = ((mic, value) for mic, value in values if value is not None)
    return Metric(name, meaning, tuple(({"mic": mic}, float(value)) for mic, value in known))
