"""The node in a hurry: `python -m tests.rig.hurried_node run`.

Its session has four more microphones, `fast-0` to `fast-3`, heard as fast as the engine works:
`HURRY_UTTERANCES` utterances, spread evenly over eight hours of the session's own time. They go
through the node's own voice detection, endpointing, spool, engine and store, but each alone:
ownership needs microphones side by side, in real time.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from itertools import count
from typing import TYPE_CHECKING

import numpy as np

from node import app
from node.adapters.vad import Silero
from node.cli import main
from node.core.model import SAMPLE_RATE, Assignment
from node.core.room.endpointing import Endpointing
from node.core.room.room import Room
from node.service.listening.listener import Listener
from node.service.listening.recorder import Recorder
from tests.model.say import say
from tests.model.sentences import SENTENCES

if TYPE_CHECKING:
    import numpy.typing as npt

HOURS = 8
MICS = tuple(f"fast-{number}" for number in range(4))
MOST_WAITING_S = 8.0
LOOK_S = 0.002
SAYS = 8
"""How many different sentences are said, in rotation."""


class HurriedListener(Listener):
    """Hears the fast microphones in addition to those of the session."""

    def go(self) -> None:
        super().go()
        utterances = int(os.environ["HURRY_UTTERANCES"])
        threading.Thread(target=self._hurry, args=[utterances], daemon=True).start()

    def _hurry(self, utterances: int) -> None:
        while self._session is None:  # the listener's thread is about to start
            time.sleep(LOOK_S)
        recorder = Recorder(
            self._session.id, Room(Endpointing(), "off"), Silero(), self._spool, "off"
        )
        for mic in MICS:
            recorder.join(mic, Assignment(mic))
        apart = HOURS * 3600 * SAMPLE_RATE // utterances
        sounds = [_sound(number) for number in range(SAYS)]
        for number in range(utterances):
            mic, sound = MICS[number % len(MICS)], sounds[number % SAYS]
            recorder.hear(mic, number * apart, sound)
            self._wait_for_the_engine()

    def _wait_for_the_engine(self) -> None:
        utterances = self._spool._utterances
        for _ in count():
            if utterances.backlog_s() < MOST_WAITING_S:
                return
            time.sleep(LOOK_S)


def _sound(number: int) -> npt.NDArray[np.int16]:
    """Return a sentence and the pause after it that ends an utterance."""
    sentence = SENTENCES[number]
    pause = np.zeros(SAMPLE_RATE, np.int16)
    return np.concatenate([say(sentence.text, sentence.language, sentence.voice), pause])


if __name__ == "__main__":
    app.__dict__["Listener"] = HurriedListener
    sys.exit(main())
