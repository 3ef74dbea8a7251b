"""Device discovery: what makes the node and its mics appear in Home Assistant by themselves.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload, since 2024.12. A single
key at the root that Home Assistant does not know rejects the whole device. Every key of an entity
is documented at https://www.home-assistant.io/integrations/#search/mqtt for its platform. Templates
must bear a topic that was cleared: its payload is empty, and `value_json` is then undefined.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from node.core.mqtt.topics import OFFLINE, ONLINE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from node.core.mqtt.payloads import MicPayload
    from node.core.mqtt.topics import Topics

Entity = dict[str, Any]
NameLanguage = Literal["en", "fr"]

ORIGIN_NAME = "Scribe Node"
ENTITY_ID_PREFIX = "scribe"

MAX_STATE_CHARS = 250
"""Text shown as a state. Beyond 255 characters Home Assistant logs all of it."""

MAX_ATTRIBUTE_CHARS = 4000
"""Text kept as an attribute: even at 4 bytes a character it stays below the 16,384 bytes of all
attributes together up to which Home Assistant's recorder keeps them."""

MAX_NAME_CHARS = 64
"""Longest speaker's name the node takes."""

ALWAYS: Entity = {"availability": []}
"""Overrides the device's availability: an event entity that comes back from `unavailable` would run
its last event's automations again."""

DIAGNOSTIC: Entity = {"entity_category": "diagnostic"}

_BODY = "{% set body = value_json | default({}) %}"

NAMES: dict[str, dict[NameLanguage, str]] = {
    "connectivity": {"en": "Connectivity", "fr": "Connectivité"},
    "transcription": {"en": "Transcription", "fr": "Transcription"},
    "state": {"en": "State", "fr": "État"},
    "problem": {"en": "Problem", "fr": "Problème"},
    "live_transcript": {"en": "Live transcript", "fr": "Transcription en direct"},
    "last_transcript": {"en": "Last transcript", "fr": "Dernière transcription"},
    "last_words": {"en": "Last words", "fr": "Derniers mots"},
    "transcript": {"en": "Transcript", "fr": "Transcription finale"},
    "save": {"en": "Save transcript", "fr": "Enregistrer la transcription"},
    "stop": {"en": "Stop", "fr": "Arrêter"},
    "backlog": {"en": "Backlog", "fr": "Parole en attente"},
    "real_time_factor": {"en": "Real-time factor", "fr": "Facteur temps réel"},
    "outbox": {"en": "Outbox", "fr": "Messages en attente"},
    "temperature": {"en": "Temperature", "fr": "Température"},
    "disk_free": {"en": "Free disk space", "fr": "Espace disque libre"},
    "dropped": {"en": "Dropped speech", "fr": "Parole perdue"},
    "speaker": {"en": "Speaker", "fr": "Personne"},
    "enabled": {"en": "Enabled", "fr": "Activé"},
    "segment": {"en": "Speech", "fr": "Parole"},
    "connected": {"en": "Connected", "fr": "Connecté"},
    "status": {"en": "Status", "fr": "Statut"},
    "level": {"en": "Level", "fr": "Niveau"},
}
"""What each entity is called in Home Assistant, by its key (also the end of its unique id) and by
the language of the configuration."""

MIC: dict[NameLanguage, str] = {"en": "Mic", "fr": "Micro"}
"""What precedes a mic's index in the name of its device."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """Makes the discovery messages of one node.

    `hardware` identifies the machine, in `[a-z0-9]`. Unique ids are made of it and of the mics'
    ids, so that entities stay the same when nodes and people are renamed.
    """

    topics: Topics
    prefix: str
    hardware: str
    language: NameLanguage
    version: str

    @property
    def birth(self) -> str:
        """Where Home Assistant says `online` when it has started."""
        return f"{self.prefix}/status"

    def messages(self, mics: list[MicPayload]) -> dict[str, dict[str, Any]]:
        """Payload by topic, in the order to send them: the node before what hangs on it."""
        return {
            self._topic(self._node_id): self._node(),
            **{self._topic(self._mic_id(mic["mic"])): self._mic(mic) for mic in mics},
        }

    def _topic(self, device_id: str) -> str:
        return f"{self.prefix}/device/{device_id}/config"

    @property
    def _node_id(self) -> str:
        return f"scribe_{self.hardware}"

    def _mic_id(self, mic: str) -> str:
        return f"{self._node_id}_{topic_part(mic)}"

    def _node(self) -> dict[str, Any]:
        device = {
            "identifiers": [self._node_id],
            "name": f"Scribe {self.topics.node}",
            "manufacturer": ORIGIN_NAME,
            "model": ORIGIN_NAME,
            "sw_version": self.version,
        }
        return self._payload(device, self._node_id, ENTITY_ID_PREFIX, node_entities(self.topics))

    def _mic(self, mic: MicPayload) -> dict[str, Any]:
        device = {
            "identifiers": [self._mic_id(mic["mic"])],
            "name": f"{MIC[self.language]} {mic['index']}",
            "model": mic["name"],
            "model_id": mic["usb_id"],
            "serial_number": mic["serial"],
            "via_device": self._node_id,
        }
        return self._payload(
            {key: value for key, value in device.items() if value},
            self._mic_id(mic["mic"]),
            f"{ENTITY_ID_PREFIX}_mic_{mic['index']}",
            mic_entities(self.topics, mic["mic"]),
        )

    def _payload(
        self, device: dict[str, Any], device_id: str, object_id: str, entities: dict[str, Entity]
    ) -> dict[str, Any]:
        return {
            "device": device,
            "origin": {"name": ORIGIN_NAME, "sw_version": self.version},
            "availability": [{"topic": self.topics.status}],
            "components": {
                key: {
                    **entity,
                    "name": NAMES[key][self.language],
                    "unique_id": f"{device_id}_{key}",
                    # Home Assistant: the first before 2025.10, the second after 2026.4.
                    "object_id": f"{object_id}_{key}",
                    "default_entity_id": f"{entity['platform']}.{object_id}_{key}",
                }
                for key, entity in entities.items()
            },
        }


def topic_part(mic: str) -> str:
    """A mic's id in `[a-zA-Z0-9_-]`, as discovery topics need it; unique for each mic.

    Mic ids have dots but no capitals.
    """
    return mic.replace(".", "P")


def node_entities(topics: Topics) -> dict[str, Entity]:
    """The entities of the node's device, by key."""
    return {
        **_controls(topics),
        **_session(topics),
        **_transcripts(topics),
        **_health(topics),
    }


def mic_entities(topics: Topics, mic: str) -> dict[str, Entity]:
    """The entities of a mic's device, by key."""
    state = {"state_topic": topics.mic_state(mic)}
    return {
        **_mic_controls(topics, mic, state),
        "segment": {
            **_entity("event", "mdi:account-voice"),
            **ALWAYS,
            "state_topic": topics.segment(mic),
            "event_types": ["segment"],
        },
        "last_words": _last_words(topics.mic_last_words(mic)),
        **_mic_diagnostics(state),
    }


def _mic_controls(topics: Topics, mic: str, state: Entity) -> dict[str, Entity]:
    return {
        "speaker": {
            **_entity("text", "mdi:account"),
            **state,
            "value_template": _value("speaker", "or ''"),
            "command_topic": topics.speaker_set(mic),
            "max": MAX_NAME_CHARS,
        },
        "enabled": {
            **_entity("switch", "mdi:microphone"),
            **state,
            "value_template": _on("body.get('enabled')"),
            "command_topic": topics.enabled_set(mic),
        },
    }


def _mic_diagnostics(state: Entity) -> dict[str, Entity]:
    return {
        "connected": {
            **_entity("binary_sensor"),
            **DIAGNOSTIC,
            **state,
            "device_class": "connectivity",
            "value_template": _on("body.get('connected')"),
        },
        "status": {
            **_entity("sensor", "mdi:microphone-message"),
            **DIAGNOSTIC,
            **state,
            "device_class": "enum",
            "options": ["disconnected", "muted", "recording", "idle"],
            "value_template": f"{_BODY}{_MIC_STATUS}",
        },
        "level": {
            **_entity("sensor", "mdi:waveform"),
            **DIAGNOSTIC,
            **state,
            "enabled_by_default": False,
            "state_class": "measurement",
            "unit_of_measurement": "dBFS",
            "value_template": _value("level_dbfs"),
        },
    }


_MIC_STATUS = (
    "{{ 'disconnected' if not body.get('connected') else 'muted' if not body.get('enabled')"
    " else 'recording' if body.get('recording') else 'idle' }}"
)


def _controls(topics: Topics) -> dict[str, Entity]:
    return {
        "transcription": {
            **_entity("switch", "mdi:record-rec"),
            "state_topic": topics.session,
            "value_template": _on("body.get('state') in ['starting', 'recording']"),
            "command_topic": topics.session_set,
            **_attributes(topics.session, ["message"]),
        },
        "stop": {
            **_entity("button", "mdi:stop"),
            "command_topic": topics.session_set,
            "payload_press": "OFF",
        },
        "save": {
            **_entity("button", "mdi:content-save"),
            "command_topic": topics.request("transcript/save"),
            "payload_press": "{}",
        },
    }


def _session(topics: Topics) -> dict[str, Entity]:
    state = {"state_topic": topics.session}
    return {
        "connectivity": {
            **_entity("binary_sensor"),
            **ALWAYS,
            **DIAGNOSTIC,
            "state_topic": topics.status,
            "device_class": "connectivity",
            "payload_on": ONLINE,
            "payload_off": OFFLINE,
        },
        "state": {
            **_entity("sensor", "mdi:state-machine"),
            **state,
            "device_class": "enum",
            "options": ["idle", "starting", "recording", "stopping", "error"],
            "value_template": _value("state"),
            **_attributes(
                topics.session,
                [
                    *("session_id", "title", "started_at", "speakers", "segments_total"),
                    *("finishing", "message"),
                ],
            ),
        },
        "problem": {
            **_entity("binary_sensor"),
            **state,
            "device_class": "problem",
            "value_template": _on("body.get('problem')"),
            **_attributes(topics.session, {"message": "body.get('problem')"}),
        },
    }


def _transcripts(topics: Topics) -> dict[str, Entity]:
    clipped = f"(body.get('text') or '')[:{MAX_ATTRIBUTE_CHARS}]"
    last_lines = f"(body.get('text') or '')[-{MAX_ATTRIBUTE_CHARS}:]"
    told = ["session_id", "title", "started_at", "duration_s", "languages", "speakers"]
    return {
        "live_transcript": {
            **_entity("sensor", "mdi:text-long"),
            "state_topic": topics.live,
            "device_class": "timestamp",
            "value_template": _value("updated_at"),
            **_attributes(topics.live, {"session_id": None, "text": last_lines}),
        },
        "last_words": _last_words(topics.last_words),
        "last_transcript": {
            **_entity("sensor", "mdi:text-box-check"),
            "state_topic": topics.last,
            "device_class": "timestamp",
            "value_template": _value("ended_at"),
            **_attributes(
                topics.last,
                {**dict.fromkeys([*told, "segments_total", "file_path"]), "text": clipped},
            ),
        },
        "transcript": {
            **_entity("event", "mdi:text-box-check"),
            **ALWAYS,
            "state_topic": topics.final,
            "event_types": ["transcript"],
        },
    }


def _health(topics: Topics) -> dict[str, Entity]:
    return {
        "backlog": _measured(topics, "backlog_s", "duration", "s", 1),
        "real_time_factor": {
            **_measured(topics, "rtf", None, None, 2),
            "icon": "mdi:speedometer",
        },
        "outbox": {**_measured(topics, "outbox", None, None, 0), "icon": "mdi:tray-full"},
        "temperature": _measured(topics, "temperature_c", "temperature", "°C", 1),
        "disk_free": _measured(topics, "disk_free_mb", "data_size", "MiB", 0),
        "dropped": {
            **_measured(topics, "dropped_s", "duration", "s", 1),
            "state_class": "total_increasing",
        },
    }


def _measured(
    topics: Topics, field: str, device_class: str | None, unit: str | None, precision: int
) -> Entity:
    """A number of the health record."""
    entity: Entity = {
        **_entity("sensor"),
        **DIAGNOSTIC,
        "state_topic": topics.health,
        "value_template": _value(field),
        "state_class": "measurement",
        "suggested_display_precision": precision,
    }
    if device_class is not None:
        entity["device_class"] = device_class
    if unit is not None:
        entity["unit_of_measurement"] = unit
    return entity


def _last_words(topic: str) -> Entity:
    return {
        **_entity("sensor", "mdi:comment-text"),
        "state_topic": topic,
        "value_template": f"{_BODY}{{{{ (body.get('text') or none)"
        f" and body.get('text')[:{MAX_STATE_CHARS}] }}}}",
        **_attributes(topic, ["text", "speaker", "mic", "start", "language", "session_id"]),
    }


def _entity(platform: str, icon: str | None = None) -> Entity:
    # Home Assistant ignores a `qos` given for the whole device.
    return {"platform": platform, "qos": 1} | ({"icon": icon} if icon else {})


def _value(field: str, otherwise: str = "") -> str:
    """A field of the payload; `None`, shown as unknown, if it is missing."""
    return f"{_BODY}{{{{ body.get('{field}') {otherwise}".rstrip() + " }}"


def _on(condition: str) -> str:
    return f"{_BODY}{{{{ 'ON' if {condition} else 'OFF' }}}}"


def _attributes(topic: str, fields: Iterable[str] | dict[str, str | None]) -> Entity:
    """Attributes from fields of a payload, or from the expression given for one of them.

    Built anew for every message, so that nothing of a cleared payload stays.
    """
    given = fields if isinstance(fields, dict) else dict.fromkeys(fields)
    values = {name: value or f"body.get('{name}')" for name, value in given.items()}
    pairs = ", ".join(f"'{name}': {value}" for name, value in values.items())
    return {
        "json_attributes_topic": topic,
        "json_attributes_template": f"{_BODY}{{{{ {{{pairs}}} | to_json }}}}",
    }
