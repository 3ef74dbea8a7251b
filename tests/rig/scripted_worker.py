"""A worker of the tests: it announces itself, and does with its requests what a test likes."""

from __future__ import annotations

import itertools
import queue
from typing import TYPE_CHECKING, Any, Self

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from node.adapters.weights import WEIGHTS, digest
from node.core.work.messages import (
    ErrorPart,
    ModelId,
    ResultPart,
    WorkAnswer,
    WorkerStatus,
    decode_request,
    encode_answer,
    encode_status,
)
from tests.rig.broker import HOST
from tests.rig.node import MODEL
from tests.rig.patience import stretched

if TYPE_CHECKING:
    from node.core.work.messages import WorkRequest

RESPONSE = "scribe/lab/work/response"
OWN = ModelId(name="model", sha256=digest(MODEL / WEIGHTS))
PATIENCE_S = 30
TEXTS = (f"Text number {n}." for n in itertools.count())


class Asked:
    """A request as it arrived."""

    def __init__(self, message: MQTTMessage) -> None:
        work = decode_request(bytes(message.payload))
        self.request: WorkRequest = work.request
        self.sound = work.sound
        self.properties: Any = message.properties
        self.qos = message.qos

    @property
    def mic(self) -> str:
        return self.request.id.split("/")[2]


class Scripted:
    """Announces a worker, gets requests, and answers as it is told."""

    def __init__(
        self, port: int, *, name: str = "w1", subscribes: bool = True, slots: int = 8
    ) -> None:
        self.asked: queue.SimpleQueue[Asked] = queue.SimpleQueue()
        self._name, self._slots = name, slots
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_message = lambda _client, _data, message: self.asked.put(Asked(message))
        self._client.connect(HOST, port)
        if subscribes:
            self._client.subscribe("$share/scribe/scribe/work/model/request", 1)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, **names: Any) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        for name, value in names.items():
            setattr(properties, name, value)
        self._client.publish(topic, payload, 1, retain, properties).wait_for_publish(10)

    def says(self, state: Any) -> None:
        model = OWN if state == "online" else None
        status = WorkerStatus(
            state=state,
            worker=self._name,
            model=model,
            slots=self._slots,
            rtf=0.01,
        )
        self.publish(f"scribe/worker/{self._name}/status", encode_status(status), retain=True)

    def next(self) -> Asked:
        return self.asked.get(timeout=stretched(PATIENCE_S))

    def answer(self, asked: Asked, text: str | None = None, **fields: Any) -> str:
        """Answer with a text, or other fields; return the text."""
        text = text or next(TEXTS)
        result = ResultPart(text=text, language="en", language_probability=1.0, confidence=0.9)
        answer: dict[str, Any] = {"worker": self._name, "version": "1", "model": OWN}
        answer |= fields or {"result": result}
        payload = encode_answer(WorkAnswer(**{"id": asked.request.id, **answer}))
        self.publish(RESPONSE, payload, CorrelationData=asked.properties.CorrelationData)
        return text

    def refuse(self, asked: Asked, code: Any, name: str = "w1") -> None:
        self.answer(asked, worker=name, error=ErrorPart(code=code, message="it says so"))

    def __enter__(self) -> Self:
        self.says("online")
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
