"""A real Home Assistant on the broker of `config/mosquitto`, and a node that hears real speech."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.model.sentences import SENTENCES
from tests.rig.broker import Broker
from tests.rig.clients import summariser
from tests.rig.clients.homeassistant import CONFIG, HomeAssistant, has_ai_tasks
from tests.rig.mqtt import Watcher
from tests.rig.node import ROOT, TOPIC, Room, RunningNode, configuration
from tests.rig.processes import wait_until
from tests.rig.vmics import VirtualMic, VirtualMics

if TYPE_CHECKING:
    from collections.abc import Iterator

ACL = (ROOT / "config/mosquitto/acl").read_text(encoding="utf-8")
USERS = {"node": "pw-n", "homeassistant": "pw-h", "dashboard": "pw-d", "test": "pw-t"}
TEST_ACL = "user test\ntopic readwrite #\nuser homeassistant\ntopic write heard/#\n"

LIGHT = SENTENCES[6]  # Turn on the kitchen light please.
OTHER = SENTENCES[10]  # The meeting starts at nine.

SPEECH = ["event.scribe_mic_1_segment", "event.scribe_mic_2_segment"]


def blueprint(name: str, **inputs: Any) -> dict[str, Any]:
    return {
        "id": name + str(len(inputs)),
        "alias": name,
        "use_blueprint": {"path": f"scribe/{name}.yaml", "input": inputs},
    }


def publish(topic: str, payload: str) -> list[dict[str, Any]]:
    return [{"action": "mqtt.publish", "data": {"topic": topic, "payload": payload}}]


KEYWORD = {"microphones": SPEECH, "keywords": ["the kitchen light", "radio"]}
AUTOMATIONS = [
    blueprint("keyword", **KEYWORD, actions=publish("heard/anybody", "{{ speaker }}: {{ text }}")),
    blueprint(
        "keyword",
        **KEYWORD,
        speaker="bruno",
        late=True,
        actions=publish("heard/bruno", "{{ text }}"),
    ),
    # What a beginner writes; shows that the restarts in these tests would fire it again.
    {
        "id": "naive",
        "alias": "naive",
        "mode": "parallel",
        "triggers": [{"trigger": "state", "entity_id": SPEECH}],
        "actions": publish("heard/naive", "{{ trigger.to_state.state }}"),
    },
    blueprint(
        "transcript",
        transcript="event.scribe_transcript",
        actions=publish("heard/transcript", "{{ speakers }} | {{ segments }} | {{ text }}"),
    ),
    blueprint(
        "start",
        start_when=[{"trigger": "state", "entity_id": "input_button.start"}],
        transcription="switch.scribe_transcription",
        problem="binary_sensor.scribe_problem",
        remind=publish("heard/reminder", "recording"),
        over=publish("heard/over", "over"),
        refused=publish("heard/refused", "{{ reason }}"),
    ),
]

SUMMARY = blueprint(
    "summary",
    transcript="event.scribe_transcript",
    ai_task=summariser.ENTITY,
    instructions="In short, please.",
    shortest=2,
    actions=publish("heard/summary", "{{ speakers }} | {{ summary }}"),
)


@dataclass
class Home:
    """Home Assistant, broker and node together."""

    assistant: HomeAssistant
    broker: Broker
    room: Room

    def heard(self, topic: str, after: int = 0) -> list[str]:
        """Return what the automations have said."""
        return [m.text for m in self.room.watcher.messages(f"heard/{topic}", after)]

    def wait_heard(self, topic: str, after: int) -> str:
        return self.room.watcher.wait_for(f"heard/{topic}", 20, after).text

    def say(self, mic: str, count: int) -> None:
        """Speak the keyword, and wait until it is transcribed."""
        before = len(self.segments())
        self.room.say(mic, LIGHT)
        wait_until(lambda: len(self.segments()) >= before + count, 30, "it is written down")

    def segments(self) -> list[dict[str, Any]]:
        return [m.json() for m in self.room.watcher.messages(f"{TOPIC}/mic/+/segment")]

    def stop(self) -> None:
        """End the session with the switch."""
        self.assistant.act("switch.turn_off", "switch.scribe_transcription")
        self.assistant.wait_state("sensor.scribe_state", "idle", 60)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder = tmp_path_factory.mktemp("node")
    password = folder / "password"
    password.write_text(USERS["node"])
    mics = ["desk", "door"]
    with (
        Broker(users=USERS, acl=f"{ACL}\n{TEST_ACL}") as broker,
        VirtualMics([VirtualMic(name) for name in mics]) as virtual,
        Watcher(broker.port, username="test", password=USERS["test"]) as watcher,
    ):
        login = {"username": "node", "password_file": str(password)}
        on = {"enabled": True}
        config = configuration(folder, broker.port, mics, mqtt=login, homeassistant=on)
        automations = AUTOMATIONS + ([SUMMARY] if has_ai_tasks() else [])
        with (
            HomeAssistant(tmp_path_factory.mktemp("home"), automations) as assistant,
            RunningNode(folder, config, virtual.env) as node,
        ):
            node.wait_online(watcher)
            assistant.onboard()
            assistant.connect(broker.port, "homeassistant", USERS["homeassistant"])
            if has_ai_tasks():
                assistant.add_summariser()
            yield Home(assistant, broker, Room(node, virtual, watcher))


@pytest.fixture(autouse=True)
def _no_session_left(home: Home) -> Iterator[None]:
    yield
    home.room.ask("session/stop")


def test_the_node_and_its_mics_are_there(home: Home) -> None:
    assistant = home.assistant
    assistant.wait_state("binary_sensor.scribe_connectivity", "on")
    assistant.wait_state("sensor.scribe_mic_2_status", "idle")
    states = {entity: state["state"] for entity, state in assistant.states().items()}
    expected = {
        "switch.scribe_transcription": "off",
        "sensor.scribe_state": "idle",
        "binary_sensor.scribe_problem": "off",
        "sensor.scribe_last_transcript": "unknown",
        "sensor.scribe_last_words": "unknown",
        "event.scribe_transcript": "unknown",
        "button.scribe_save": "unknown",
        "button.scribe_stop": "unknown",
        "sensor.scribe_outbox": "0",
        "sensor.scribe_backlog": "0.0",
        "sensor.scribe_dropped": "0.0",
        "text.scribe_mic_1_speaker": "",
        "switch.scribe_mic_1_enabled": "on",
        "event.scribe_mic_1_segment": "unknown",
        "binary_sensor.scribe_mic_1_connected": "on",
        "sensor.scribe_mic_1_status": "idle",
        "sensor.scribe_mic_1_last_words": "unknown",
    }
    assert {entity: states.get(entity) for entity in expected} == expected
    assert float(states["sensor.scribe_disk_free"]) > 100
    assert "sensor.scribe_mic_1_level" not in states
    of_mic = "device_attr(device_id('text.scribe_mic_1_speaker'), '{}')"
    assert assistant.render(f"{{{{ {of_mic.format('name')} }}}}") == "Mic 1"
    parent = f"{{{{ device_attr({of_mic.format('via_device_id')}, 'name') }}}}"
    assert assistant.render(parent) == "Scribe lab"


def test_the_dashboard_shows_what_there_is(home: Home) -> None:
    text = (CONFIG / "dashboard.yaml").read_text(encoding="utf-8")
    known = set(home.assistant.states())
    used = {e for e in re.findall(r"\b[a-z_]+\.scribe_\w+", text) if not re.search("mic_[3-8]", e)}
    assert used <= known
    assert yaml.safe_load(text)["views"]


def test_a_switch_that_cannot_says_why(home: Home) -> None:
    assistant, after = home.assistant, home.room.watcher.count()
    assistant.act("input_button.press", "input_button.start")
    assert "no mic has a speaker" in home.wait_heard("refused", after)
    shown = assistant.wait_state("binary_sensor.scribe_problem", "on")
    assert "no mic has a speaker" in shown["attributes"]["message"]
    assert assistant.state("switch.scribe_transcription") == "off"
    home.room.do("mics/assign", assignments=[{"mic": "desk", "speaker": "Alice"}])
    assistant.wait_state("binary_sensor.scribe_problem", "off")


def test_a_session_from_the_switch_to_the_transcript(home: Home) -> None:
    assistant, after = home.assistant, home.room.watcher.count()
    assistant.act("text.set_value", "text.scribe_mic_1_speaker", value="Alice")
    assistant.act("text.set_value", "text.scribe_mic_2_speaker", value='Zoë "JJ" O\'Neil')
    assistant.wait_state("text.scribe_mic_2_speaker", 'Zoë "JJ" O\'Neil')
    assistant.act("switch.turn_on", "switch.scribe_transcription")
    assistant.wait_state("switch.scribe_transcription", "on")
    assistant.wait_state("sensor.scribe_mic_1_status", "recording")

    home.say("desk", 1)
    words = assistant.wait_state("sensor.scribe_mic_1_last_words", LIGHT.text)
    assert (words["attributes"]["text"], words["attributes"]["speaker"]) == (LIGHT.text, "Alice")
    event = assistant.wait_state(SPEECH[0], lambda state: state != "unknown")["attributes"]
    assert (event["event_type"], event["text"], event["speaker"]) == (
        "segment",
        LIGHT.text,
        "Alice",
    )
    assert home.wait_heard("anybody", after) == f"Alice: {LIGHT.text}"
    live = assistant.wait_state("sensor.scribe_live_transcript", lambda state: state != "unknown")
    assert f"Alice: {LIGHT.text}" in live["attributes"]["text"]

    assistant.act("text.set_value", "text.scribe_mic_1_speaker", value="Bruno")
    assistant.wait_state("text.scribe_mic_1_speaker", "Bruno")
    home.say("desk", 1)
    assert home.wait_heard("bruno", after) == LIGHT.text
    assert assistant.attributes(SPEECH[0])["speaker"] == "Bruno"

    home.stop()
    assert home.wait_heard("transcript", after).startswith("Alice, Bruno | 2 | [")
    last = assistant.wait_state("sensor.scribe_last_transcript", lambda state: state != "unknown")
    assert [one["speaker"] for one in last["attributes"]["speakers"]] == ["Alice", "Bruno"]
    assert last["attributes"]["file_path"].endswith(".txt")
    assert last["attributes"]["text"].count(LIGHT.text) == 2
    assert len(home.heard("anybody", after)) == 2
    assert len(home.heard("transcript", after)) == 1


def test_a_session_started_by_a_button_reminds_and_is_stopped(home: Home) -> None:
    assistant, after = home.assistant, home.room.watcher.count()
    home.room.do("mics/assign", assignments=[{"mic": "desk", "speaker": "Alice"}])
    assistant.act("input_button.press", "input_button.start")
    assert home.wait_heard("reminder", after) == "recording"
    assistant.act("button.press", "button.scribe_stop")
    assistant.wait_state("sensor.scribe_state", "idle", 60)
    assert home.wait_heard("over", after) == "over"
    assert not home.heard("refused", after)


@pytest.mark.skipif(not has_ai_tasks(), reason="this Home Assistant has no AI tasks")
def test_an_ai_task_summarises_a_transcript_that_is_long_enough(home: Home) -> None:
    after = home.room.watcher.count()
    for utterances in (1, 2):
        home.room.start(desk="Alice")
        for _ in range(utterances):
            home.say("desk", 1)
        home.stop()
    summary = home.wait_heard("summary", after)
    assert summary.startswith("Alice | Scribe: ")
    assert " was told: In short, please.\n\n[" in summary
    assert summary.count(f"Alice: {LIGHT.text}") == 2
    assert len(home.heard("summary", after)) == 1


def test_one_trigger_for_each_utterance_through_every_restart(home: Home) -> None:
    """What is said while a part is away arrives late or not at all, never twice."""
    assistant, room, after = home.assistant, home.room, home.room.watcher.count()
    room.do("mics/assign", assignments=[{"mic": m, "speaker": "Bruno"} for m in ("desk", "door")])
    assistant.act("switch.turn_on", "switch.scribe_transcription")
    assistant.wait_state("switch.scribe_transcription", "on")

    def say(mic: str, total: int) -> None:
        home.say(mic, 1)
        wait_until(lambda: len(home.heard("bruno", after)) == total, 20, f"{total} triggers")

    say("desk", 1)
    say("door", 2)
    room.say("desk", OTHER)

    assistant.stop()
    assistant.start()
    assistant.wait_state("switch.scribe_transcription", "on", 60)
    assistant.wait_state(SPEECH[0], lambda state: state not in {"unknown", "unavailable"})
    say("desk", 3)

    home.broker.stop()
    assistant.wait_state("switch.scribe_transcription", "unavailable", 60)
    home.broker.start()
    assistant.wait_state("switch.scribe_transcription", "on", 90)
    room.watcher.wait_connected(60)
    say("door", 4)

    restarted = room.watcher.count()
    room.node.program.kill_group()
    assistant.wait_state("switch.scribe_transcription", "unavailable", 60)
    room.node.start().wait_online(room.watcher, restarted)
    # The session that the kill cut off is closed, and its transcript arrives once.
    home.wait_heard("transcript", restarted)
    assistant.wait_state("sensor.scribe_state", "idle", 60)
    assistant.act("switch.turn_on", "switch.scribe_transcription")
    assistant.wait_state("switch.scribe_transcription", "on")
    say("desk", 5)
    home.stop()
    wait_until(lambda: len(home.heard("transcript", after)) == 2, 20, "the second transcript")

    time.sleep(5)  # long enough for any repeat to arrive
    assert home.heard("bruno", after) == [LIGHT.text] * 5
    assert len(home.heard("anybody", after)) == 5
    assert len(home.heard("transcript", after)) == 2
    naive = len(home.heard("naive", after))
    print(f"5 utterances with the keyword, 5 triggers; a plain state trigger: {naive}")
    assert naive > 6


def test_a_deleted_session_leaves_no_words(home: Home) -> None:
    assistant, room = home.assistant, home.room
    room.start(desk="Alice")
    home.say("desk", 1)
    assistant.wait_state("sensor.scribe_mic_1_last_words", LIGHT.text)
    room.stop()
    restarted = room.watcher.count()  # what an earlier process left on the broker goes too
    room.node.end()
    room.node.start().wait_online(room.watcher, restarted)
    for one in room.do("session/list")["sessions"]:
        room.do("session/delete", session_id=one["session_id"])
    for entity in ("sensor.scribe_mic_1_last_words", "sensor.scribe_last_words"):
        shown = assistant.wait_state(entity, "unknown")
        assert not shown["attributes"].get("text")
    for entity in ("sensor.scribe_last_transcript", "sensor.scribe_live_transcript"):
        assert not assistant.wait_state(entity, "unknown")["attributes"].get("text")


def test_home_assistant_has_nothing_to_complain_about(home: Home) -> None:
    log = home.assistant.log()
    assert LIGHT.text not in log
    assert OTHER.text not in log
    complaints = [line for line in log.splitlines() if re.search("WARNING|ERROR", line)]
    ours = [line for line in complaints if re.search("mqtt|template|automation|scribe", line)]
    # The test took its broker away, and the automation `naive` is not one of ours.
    assert not [line for line in ours if not re.search("socket|connection was lost|naive", line)]
