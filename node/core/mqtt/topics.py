"""The topic tree of one node, and which message is a command to it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from node.core.model import MIC_ID

EVERY_NODE = "all"
"""In place of a node's id: the group topic that every node listens on."""

NO_TOPIC = frozenset("+#\0")
"""What no message may be published on."""

MAX_COMMAND_CHARS = 256
"""Longest topic of a command, below the node's: the answer's is longer, and MQTT has a limit."""

ONLINE, OFFLINE = "online", "offline"
"""On `T/status`."""


@dataclass(frozen=True, slots=True)
class RequestTopic:
    """A message on `…/request/<verb>`."""

    verb: str


@dataclass(frozen=True, slots=True)
class SessionSwitch:
    """A message on `…/session/set`: `ON` or `OFF`."""


@dataclass(frozen=True, slots=True)
class SpeakerSet:
    """A message on `T/mic/<mic>/speaker/set`: a name."""

    mic: str


@dataclass(frozen=True, slots=True)
class EnabledSet:
    """A message on `T/mic/<mic>/enabled/set`: `ON` or `OFF`."""

    mic: str


SHARE = "$share/scribe/"
"""Before a topic filter: each message goes to one of all that subscribe so (MQTT 5, 4.8.2)."""

ANY_WORKER = "+"


def work_request(base: str, model: str) -> str:
    """Where nodes send what is to be transcribed with this model: a name, or a folder's path."""
    level = _NO_LEVEL.sub("-", model.rstrip("/").rpartition("/")[2].lower())
    return f"{base}/work/{level or 'model'}/request"


def worker_status(base: str, worker: str) -> str:
    return f"{base}/worker/{worker}/status"


def is_work_response(base: str, topic: str) -> bool:
    """Return whether this is where a node takes answers: a worker answers nowhere else."""
    below = topic.removeprefix(f"{base}/")
    return topic.startswith(f"{base}/") and _WORK_RESPONSE.fullmatch(below) is not None


_NO_LEVEL = re.compile(r"[^a-z0-9_-]+")
_WORK_RESPONSE = re.compile(r"[a-z0-9_-]{1,32}/work/response")

Command = RequestTopic | SessionSwitch | SpeakerSet | EnabledSet


@dataclass(frozen=True, slots=True)
class Topics:
    """Every topic of the node `<base>/<node>`."""

    base: str
    node: str

    @property
    def root(self) -> str:
        return f"{self.base}/{self.node}"

    @property
    def status(self) -> str:
        return f"{self.root}/status"

    @property
    def info(self) -> str:
        return f"{self.root}/info"

    @property
    def session(self) -> str:
        return f"{self.root}/session"

    @property
    def mics(self) -> str:
        return f"{self.root}/mics"

    @property
    def live(self) -> str:
        return f"{self.root}/transcript/live"

    @property
    def final(self) -> str:
        return f"{self.root}/transcript/final"

    @property
    def last(self) -> str:
        return f"{self.root}/transcript/last"

    @property
    def last_words(self) -> str:
        return f"{self.root}/transcript/last_words"

    @property
    def health(self) -> str:
        return f"{self.root}/health"

    @property
    def event(self) -> str:
        return f"{self.root}/event"

    def mic_state(self, mic: str) -> str:
        return f"{self.root}/mic/{mic}/state"

    def segment(self, mic: str) -> str:
        return f"{self.root}/mic/{mic}/segment"

    def partial(self, mic: str) -> str:
        return f"{self.root}/mic/{mic}/partial"

    def mic_last_words(self, mic: str) -> str:
        return f"{self.root}/mic/{mic}/last_words"

    def speaker_set(self, mic: str) -> str:
        return f"{self.root}/mic/{mic}/speaker/set"

    def enabled_set(self, mic: str) -> str:
        return f"{self.root}/mic/{mic}/enabled/set"

    @property
    def session_set(self) -> str:
        return f"{self.root}/session/set"

    def request(self, verb: str) -> str:
        return f"{self.root}/request/{verb}"

    def response(self, verb: str) -> str:
        return f"{self.root}/response/{verb}"

    @property
    def work_response(self) -> str:
        return f"{self.root}/work/response"

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Topic filters of everything the node listens to."""
        group = f"{self.base}/{EVERY_NODE}"
        return (
            self.request("#"),
            self.session_set,
            self.speaker_set("+"),
            self.enabled_set("+"),
            f"{group}/request/#",
            f"{group}/session/set",
        )

    def parse(self, topic: str) -> Command | None:
        """The command that a message on `topic` carries, or None if the topic is no command."""
        for root in (self.root, f"{self.base}/{EVERY_NODE}"):
            if topic.startswith(f"{root}/"):
                return self._parse_below(topic.removeprefix(f"{root}/"), own=root == self.root)
        return None

    @staticmethod
    def _parse_below(rest: str, *, own: bool) -> Command | None:
        match rest.split("/"):
            case ["request", *verb] if verb and len(rest) <= MAX_COMMAND_CHARS:
                return RequestTopic("/".join(verb))
            case ["session", "set"]:
                return SessionSwitch()
            case ["mic", mic, "speaker", "set"] if own and MIC_ID.fullmatch(mic):
                return SpeakerSet(mic)
            case ["mic", mic, "enabled", "set"] if own and MIC_ID.fullmatch(mic):
                return EnabledSet(mic)
        return None

    def may_answer_on(self, topic: str) -> bool:
        """Whether a requester's response topic may be used: never one that commands a node."""
        return (
            0 < len(topic) <= 1024
            and not topic.startswith("$")
            and not NO_TOPIC & set(topic)
            and not topic.startswith(f"{self.base}/{EVERY_NODE}/")
            and (not topic.startswith(f"{self.root}/") or topic.startswith(self.response("")))
            and not self._commands_another(topic)
        )

    def _commands_another(self, topic: str) -> bool:
        _, _, below = topic.removeprefix(f"{self.base}/").partition("/")
        return topic.startswith(f"{self.base}/") and self._parse_below(below, own=True) is not None
