"""Device discovery: what makes the node and its mics appear in Home Assistant by themselves.

https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload, since 2024.12. One key
at the root that Home Assistant does not know rejects the whole device.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from node.core.mqtt.entities import mic_entities, node_entities
from node.core.mqtt.entity_names import MIC, NAMES

if TYPE_CHECKING:
    from node.core.mqtt.entities import Entity
    from node.core.mqtt.entity_names import NameLanguage
    from node.core.mqtt.payloads import MicPayload
    from node.core.mqtt.topics import Topics

ORIGIN_NAME = "Scribe Node"
ENTITY_ID_PREFIX = "scribe"


@dataclass(frozen=True, slots=True)
class Discovery:
    """Makes the discovery messages of one node.

    `hardware` identifies the machine, in `[a-z0-9]`: unique ids are made of it and of the mics'
    ids, so that nodes and people can be renamed and entities stay what they are.
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
        """Payload by topic, in the order they are to be sent: the node before what hangs on it."""
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
                    # Home Assistant before 2025.10 knows the first, after 2026.4 the second only.
                    "object_id": f"{object_id}_{key}",
                    "default_entity_id": f"{entity['platform']}.{object_id}_{key}",
                }
                for key, entity in entities.items()
            },
        }


def topic_part(mic: str) -> str:
    """A mic's id in `[a-zA-Z0-9_-]`, as discovery topics need it; no two mics get the same.

    Mic ids have dots but no capitals.
    """
    return mic.replace(".", "P")
