"""A client that asks a worker for anything, and gets its answers."""

from __future__ import annotations

import queue
from typing import Any, Self

from paho.mqtt.client import Client, MQTTMessage, MQTTv5
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from node.adapters import flac
from node.core.work.messages import (
    ModelId,
    Work,
    WorkAnswer,
    WorkRequest,
    decode_answer,
    encode_request,
)
from tests.model.sentences import SENTENCES
from tests.rig.broker import HOST
from tests.rig.node import spoken

TOPIC = "scribe/work/model/request"
RESPONSE = "scribe/kitchen/work/response"
PATIENCE_S = 30
SAID = SENTENCES[6]
SOUND = spoken(SAID, pause_s=0.5)
GOOD = flac.encode(SOUND)


class Asker:
    """Sends requests as the node `kitchen` does, and gets all that is published for it."""

    def __init__(self, port: int) -> None:
        self._answers: queue.SimpleQueue[tuple[str, bytes, bytes]] = queue.SimpleQueue()
        self._client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTv5)
        self._client.on_message = self._on_message
        self._client.connect(HOST, port)
        for everything in ("scribe/kitchen/#", "home/#"):
            self._client.subscribe(everything, 1)
        self._client.loop_start()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        correlation = getattr(message.properties, "CorrelationData", b"")
        self._answers.put((message.topic, bytes(message.payload), correlation))

    def send(self, payload: bytes, response: str | None = RESPONSE, qos: int = 1) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        if response is not None:
            properties.ResponseTopic = response
        self._client.publish(TOPIC, payload, qos, False, properties).wait_for_publish(10)

    def publish(self, topic: str, payload: bytes) -> None:
        self._client.publish(topic, payload, 1, True).wait_for_publish(10)

    def ask(self, sound: bytes = GOOD, key: str = "k", qos: int = 1, **fields: Any) -> None:
        asked = {"id": key, "model": ModelId(name="model"), "samples": len(SOUND), **fields}
        self.send(encode_request(Work(WorkRequest(**asked), sound)), qos=qos)

    def answer(self, timeout: float = PATIENCE_S) -> WorkAnswer:
        topic, payload, correlation = self._answers.get(timeout=timeout)
        assert topic == RESPONSE
        answer = decode_answer(payload)
        assert correlation == answer.id.encode()
        return answer

    def refusal(self) -> tuple[str, str]:
        error = self.answer().error
        assert error is not None
        return error.code, error.message

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()
