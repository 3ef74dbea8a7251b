"""An integration with an AI task, for a Home Assistant that has no model to ask.

It gives back what it was told, so that a test sees what a model would have got.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

DOMAIN = "test_summariser"
ENTITY = "ai_task.summariser"
SINCE = (2025, 8)
"""Home Assistant has AI tasks since this release."""

MANIFEST = {
    "domain": DOMAIN,
    "name": "Summariser",
    "version": "1.0.0",
    "config_flow": True,
    "dependencies": ["ai_task"],
    "documentation": "https://example.com",
    "codeowners": [],
    "requirements": [],
    "iot_class": "calculated",
}

INIT = """\
async def async_setup_entry(hass, entry):
    await hass.config_entries.async_forward_entry_setups(entry, ["ai_task"])
    return True
"""

FLOW = f"""\
from homeassistant.config_entries import ConfigFlow


class SummariserFlow(ConfigFlow, domain="{DOMAIN}"):
    async def async_step_user(self, user_input=None):
        return self.async_create_entry(title="Summariser", data={{}})
"""

TASK = """\
from homeassistant.components.ai_task import AITaskEntity, AITaskEntityFeature, GenDataTaskResult


class Summariser(AITaskEntity):
    _attr_name = "Summariser"
    _attr_unique_id = "summariser"
    _attr_supported_features = AITaskEntityFeature.GENERATE_DATA

    async def _async_generate_data(self, task, chat_log):
        told = f"{task.name} was told: {task.instructions}"
        return GenDataTaskResult(conversation_id=chat_log.conversation_id, data=told)


async def async_setup_entry(hass, entry, async_add_entities):
    async_add_entities([Summariser()])
"""


def install(configuration: Path) -> None:
    """Put it into Home Assistant's configuration folder."""
    folder = configuration / "custom_components" / DOMAIN
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(MANIFEST))
    for name, text in {"__init__": INIT, "config_flow": FLOW, "ai_task": TASK}.items():
        (folder / f"{name}.py").write_text(text)
