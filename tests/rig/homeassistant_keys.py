"""The keys Home Assistant accepts in a device discovery message, by platform.

Those that `homeassistant.components.mqtt` of 2024.12.5 and 2026.2.3 have in common, without
abbreviations, and the two that suggest an entity id.
"""

from __future__ import annotations

_EVERY = {
    *("availability", "availability_mode", "availability_template", "availability_topic"),
    *("enabled_by_default", "encoding", "entity_category", "entity_picture", "icon"),
    *("json_attributes_template", "json_attributes_topic", "name", "payload_available"),
    *("payload_not_available", "platform", "qos", "unique_id", "object_id", "default_entity_id"),
}
_READ = {"state_topic", "value_template"}
_WRITTEN = {"command_topic", "command_template", "retain"}

COMPONENT: dict[str, set[str]] = {
    "sensor": _EVERY
    | _READ
    | {"device_class", "expire_after", "force_update", "last_reset_value_template", "options"}
    | {"state_class", "suggested_display_precision", "unit_of_measurement"},
    "binary_sensor": _EVERY
    | _READ
    | {"device_class", "expire_after", "force_update", "off_delay", "payload_off", "payload_on"},
    "switch": _EVERY
    | _READ
    | _WRITTEN
    | {"device_class", "optimistic", "payload_off", "payload_on", "state_off", "state_on"},
    "button": _EVERY | _WRITTEN | {"device_class", "payload_press"},
    "event": _EVERY | _READ | {"device_class", "event_types"},
    "text": _EVERY | _READ | _WRITTEN | {"max", "min", "mode", "optimistic", "pattern"},
}

NEEDED: dict[str, set[str]] = {
    "sensor": {"state_topic"},
    "binary_sensor": {"state_topic"},
    "switch": {"command_topic"},
    "button": {"command_topic"},
    "event": {"state_topic", "event_types"},
    "text": {"command_topic"},
}
"""Without these, the component is rejected or never has a state."""

ROOT = {
    *("availability", "availability_mode", "availability_template", "availability_topic"),
    *("command_topic", "components", "device", "encoding", "origin", "payload_available"),
    *("payload_not_available", "qos", "state_topic"),
}

DEVICE = {
    *("configuration_url", "connections", "hw_version", "identifiers", "manufacturer", "model"),
    *("model_id", "name", "serial_number", "suggested_area", "sw_version", "via_device"),
}

ORIGIN = {"name", "support_url", "sw_version"}
