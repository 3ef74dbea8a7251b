from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.core.mqtt.topics import EnabledSet, RequestTopic, SessionSwitch, SpeakerSet, Topics

TOPICS = Topics("scribe", "pi")


def test_published_topics_are_those_of_the_interface() -> None:
    assert [
        TOPICS.status,
        TOPICS.info,
        TOPICS.session,
        TOPICS.mics,
        TOPICS.mic_state("usb-1-1.3"),
        TOPICS.segment("usb-1-1.3"),
        TOPICS.partial("usb-1-1.3"),
        TOPICS.mic_last_words("usb-1-1.3"),
        TOPICS.live,
        TOPICS.final,
        TOPICS.last,
        TOPICS.last_words,
        TOPICS.health,
        TOPICS.event,
        TOPICS.response("session/start"),
    ] == [
        "scribe/pi/status",
        "scribe/pi/info",
        "scribe/pi/session",
        "scribe/pi/mics",
        "scribe/pi/mic/usb-1-1.3/state",
        "scribe/pi/mic/usb-1-1.3/segment",
        "scribe/pi/mic/usb-1-1.3/partial",
        "scribe/pi/mic/usb-1-1.3/last_words",
        "scribe/pi/transcript/live",
        "scribe/pi/transcript/final",
        "scribe/pi/transcript/last",
        "scribe/pi/transcript/last_words",
        "scribe/pi/health",
        "scribe/pi/event",
        "scribe/pi/response/session/start",
    ]


def test_subscriptions() -> None:
    assert TOPICS.subscriptions == (
        "scribe/pi/request/#",
        "scribe/pi/session/set",
        "scribe/pi/mic/+/speaker/set",
        "scribe/pi/mic/+/enabled/set",
        "scribe/all/request/#",
        "scribe/all/session/set",
    )


def test_a_base_of_several_levels() -> None:
    topics = Topics("home/floor-1/scribe", "pi")
    assert topics.status == "home/floor-1/scribe/pi/status"
    assert topics.parse("home/floor-1/scribe/all/session/set") == SessionSwitch()


@pytest.mark.parametrize(
    ("topic", "command"),
    [
        ("scribe/pi/request/session/start", RequestTopic("session/start")),
        ("scribe/pi/request/whatever", RequestTopic("whatever")),
        ("scribe/pi/request/a/b/c", RequestTopic("a/b/c")),
        ("scribe/all/request/mics/detect", RequestTopic("mics/detect")),
        (f"scribe/pi/request/{'x' * 248}", RequestTopic("x" * 248)),
        ("scribe/pi/session/set", SessionSwitch()),
        ("scribe/all/session/set", SessionSwitch()),
        ("scribe/pi/mic/usb-1-1.3/speaker/set", SpeakerSet("usb-1-1.3")),
        ("scribe/pi/mic/desk/enabled/set", EnabledSet("desk")),
    ],
)
def test_commands(topic: str, command: object) -> None:
    assert TOPICS.parse(topic) == command


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "scribe",
        "scribe/pi",
        "scribe/pi/",
        "scribe/pi/request",
        "scribe/pi/session",
        "scribe/pi/session/set/",
        "scribe/pi/mic/desk/speaker",
        "scribe/pi/mic/desk/state",
        "scribe/pi/mic//speaker/set",
        "scribe/pi/mic/Desk/speaker/set",
        "scribe/pi/mic/a b/enabled/set",
        "scribe/pi/mic/é/enabled/set",
        "scribe/pi/mic/desk\n/enabled/set",
        f"scribe/pi/mic/{'x' * 65}/enabled/set",
        f"scribe/pi/request/{'x' * 249}",
        f"scribe/all/request/{'x' * 60_000}",
        "scribe/all/mic/desk/speaker/set",
        "scribe/all/mic/desk/enabled/set",
        "scribe/other/request/session/start",
        "scribe/pi2/request/session/start",
        "scribe/allow/session/set",
        "other/pi/request/session/start",
        "/scribe/pi/request/session/start",
        "SCRIBE/pi/session/set",
    ],
)
def test_what_is_no_command_of_this_node(topic: str) -> None:
    assert TOPICS.parse(topic) is None


@pytest.mark.parametrize(
    "topic",
    [
        *("client/7/answers", "scribe/client7/answers", "a", "é", "scribe/pi2", "scribe", "/"),
        *("scribe/pi/response/session/start", "scribe/pi/response/for/client7"),
    ],
)
def test_a_requester_may_name_its_own_topic(topic: str) -> None:
    assert TOPICS.may_answer_on(topic)


@pytest.mark.parametrize(
    "topic",
    [
        "",
        "$SYS/broker",
        "a/#",
        "a/+/b",
        "a\0b",
        "x" * 1025,
        "scribe/pi/request/session/start",
        "scribe/pi/status",
        "scribe/pi/response",
        "scribe/pi/transcript/final",
        "scribe/all/request/session/stop",
        "scribe/all/session/set",
        "scribe/other/request/session/stop",
        "scribe/other/session/set",
        "scribe/other/mic/desk/speaker/set",
    ],
)
def test_an_answer_never_goes_where_nodes_listen_or_speak(topic: str) -> None:
    assert not TOPICS.may_answer_on(topic)


@given(st.text(st.sampled_from("abscribepialrequestmicset/+#$é"), max_size=40))
def test_nothing_that_commands_this_node_is_answered_on(rest: str) -> None:
    for topic in (rest, f"scribe/pi/{rest}", f"scribe/all/{rest}"):
        assert not (TOPICS.parse(topic) and TOPICS.may_answer_on(topic))
