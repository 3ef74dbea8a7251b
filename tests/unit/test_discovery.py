from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from node.core.model import Assignment, MicInfo
from node.core.mqtt.discovery import NAMES, Discovery, topic_part
from node.core.mqtt.topics import Topics
from node.core.roster import Roster
from tests.rig.homeassistant_keys import COMPONENT, DEVICE, NEEDED, ORIGIN, ROOT

if TYPE_CHECKING:
    from node.core.mqtt.discovery import NameLanguage

MICS = [
    MicInfo("usb-1-1.3", "Jabra 410", 1, "hw:1,0", "1-1.3", "0b0e:0412", "A1"),
    MicInfo("usb-1-1.4", "USB PnP Sound Device", 2, "hw:2,0", "1-1.4", "0d8c:0014"),
    MicInfo("lectern", "hw:0,0"),
]
TOPICS = Topics("scribe", "pi")


def messages(
    language: NameLanguage = "en",
    topics: Topics = TOPICS,
    speaker: str = "Alice",
    hardware: str = "0a1b",
) -> dict[str, dict[str, Any]]:
    roster = Roster()
    roster.found(MICS)
    roster.assign({"usb-1-1.3": Assignment(speaker)})
    return Discovery(topics, "homeassistant", hardware, language, "1.0").messages(roster.payloads())


def components(found: dict[str, dict[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    return [
        (key, component)
        for message in found.values()
        for key, component in message["components"].items()
    ]


ALL = components(messages())


def test_the_node_comes_before_its_mics() -> None:
    first, *others = messages().values()
    assert "via_device" not in first["device"]
    assert len(others) == len(MICS)
    assert {other["device"]["via_device"] for other in others} == set(
        first["device"]["identifiers"]
    )


def test_topics_are_such_as_home_assistant_listens_to() -> None:
    for topic in messages():
        assert re.fullmatch(r"homeassistant/device/[a-zA-Z0-9_-]+/config", topic)


def test_nothing_but_documented_keys() -> None:
    for message in messages().values():
        assert set(message) <= ROOT
        assert set(message["device"]) <= DEVICE
        assert set(message["origin"]) <= ORIGIN
        assert message["origin"]["name"]
        assert message["device"]["identifiers"]
    for key, component in ALL:
        platform = component["platform"]
        assert set(component) <= COMPONENT[platform], key
        assert NEEDED[platform] | {"unique_id", "name"} <= set(component), key


def test_unique_ids_are_unique_and_made_of_hardware() -> None:
    found = {component["unique_id"] for _, component in ALL}
    assert len(found) == len(ALL)
    renamed = messages("fr", Topics("home", "attic"), "Zoé")
    assert {component["unique_id"] for _, component in components(renamed)} == found
    assert list(renamed) == list(messages())
    assert not found & {c["unique_id"] for _, c in components(messages(hardware="ffff"))}


def test_no_name_of_a_person_is_in_discovery() -> None:
    assert "Alice" not in json.dumps(messages())


def test_entity_ids_do_not_depend_on_the_language() -> None:
    ids = [component["default_entity_id"] for _, component in ALL]
    assert ids == [c["default_entity_id"] for _, c in components(messages("fr"))]
    assert "switch.scribe_transcription" in ids
    assert "text.scribe_mic_2_speaker" in ids
    for _, component in ALL:
        platform, _, object_id = component["default_entity_id"].partition(".")
        assert (platform, object_id) == (component["platform"], component["object_id"])
        assert re.fullmatch(r"[a-z0-9_]+", object_id)


@pytest.mark.parametrize("language", ["en", "fr"])
def test_names(language: NameLanguage) -> None:
    found = messages(language)
    for key, component in components(found):
        assert component["name"] == NAMES[key][language]
    mic = {"en": "Mic 1", "fr": "Micro 1"}[language]
    assert [message["device"]["name"] for message in found.values()][:2] == ["Scribe pi", mic]


def test_every_name_is_used() -> None:
    assert {key for key, _ in ALL} == set(NAMES)


def test_mic_ids_stay_apart_in_topics() -> None:
    ids = ["usb-1-1.3", "usb-1-1-3", "usb-1-1_3", "usb-1-1.-3", "a..b", "a.b"]
    assert len({topic_part(mic) for mic in ids}) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", topic_part(mic)) for mic in ids)


def test_what_triggers_is_neither_retained_nor_made_unavailable() -> None:
    events = [component for _, component in ALL if component["platform"] == "event"]
    assert {event["state_topic"] for event in events} == {
        TOPICS.final,
        *(TOPICS.segment(mic.mic) for mic in MICS),
    }
    assert all(event["availability"] == [] for event in events)


def test_commands_go_where_the_node_listens_and_are_not_retained() -> None:
    for _, component in ALL:
        if "command_topic" in component:
            assert TOPICS.parse(component["command_topic"]) is not None
            assert not component.get("retain")


def test_text_is_clipped_before_it_becomes_a_state() -> None:
    words = [component for key, component in ALL if key == "last_words"]
    assert len(words) == 1 + len(MICS)
    assert all("[:250]" in component["value_template"] for component in words)


def test_units_and_classes_are_home_assistants() -> None:
    by_key = dict(ALL)
    for key, device_class, unit in [
        ("temperature", "temperature", "°C"),
        ("backlog", "duration", "s"),
        ("disk_free", "data_size", "MiB"),
    ]:
        component = by_key[key]
        assert (component["device_class"], component["unit_of_measurement"]) == (device_class, unit)
        assert component["entity_category"] == "diagnostic"
    assert by_key["state"]["device_class"] == "enum"
    assert set(by_key["state"]["options"]) == {"idle", "starting", "recording", "stopping", "error"}
    assert by_key["last_transcript"]["device_class"] == "timestamp"
    assert by_key["level"]["enabled_by_default"] is False


def test_home_assistant_says_where_it_is_told_that_it_has_started() -> None:
    """On a topic below the prefix of its MQTT settings, whatever that is."""
    own = Discovery(TOPICS, "home/ha", "0a1b", "en", "1.0")
    assert own.birth == "home/ha/status"
