"""libespeak-ng through ctypes: speech with the time of each word, and phonemes.

The command line tells neither, and training guides the model's attention by the one and its
encoder by the other. Constants are those of espeak-ng's speak_lib.h.
"""

import ctypes
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.signal import resample_poly

AUDIO_OUTPUT_SYNCHRONOUS = 2
CHARS_UTF8 = 1
EVENT_LIST_END = 0
EVENT_WORD = 1
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
TO_16_KHZ = (320, 441)  # from espeak-ng's 22,050 Hz


class WordEvent(NamedTuple):
    """Where a word begins: `position` counts characters from 1, `time` seconds."""

    position: int
    length: int
    time: float


class _EventId(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),  # ms
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )


_Samples = ctypes.POINTER(ctypes.c_short)
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, _Samples, ctypes.c_int, ctypes.POINTER(_Event))


class Espeak:
    """The library, which holds its state once per process: one instance, one thread."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libespeak-ng.so.1")
        self._library.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self._blocks: list[npt.NDArray[np.int16]] = []
        self._words: list[WordEvent] = []
        # Held here because the library keeps only the bare address.
        self._callback = _Callback(self._receive)

    def start(self) -> None:
        self._library.espeak_Initialize(AUDIO_OUTPUT_SYNCHRONOUS, 0, None, 0)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(
        self, text: str, voice: str, speed: int, pitch: int, pitch_range: int
    ) -> tuple[npt.NDArray[np.float32], list[WordEvent]]:
        """Samples at 16 kHz, shape (n,), and the words.

        Raises:
            ValueError: espeak-ng does not know the voice.
        """
        self._blocks.clear()
        self._words.clear()
        self._set_voice(voice)
        for parameter, value in ((RATE, speed), (PITCH, pitch), (RANGE, pitch_range)):
            self._library.espeak_SetParameter(parameter, value, 0)
        data = text.encode() + b"\0"
        size = ctypes.c_size_t(len(data))
        self._library.espeak_Synth(data, size, 0, 0, 0, CHARS_UTF8, None, None)
        self._library.espeak_Synchronize()
        samples = np.concatenate(self._blocks).astype(np.float32) / 32768
        return resample_poly(samples, *TO_16_KHZ).astype(np.float32), list(self._words)

    def phonemes(self, text: str, voice: str) -> str:
        """Espeak-ng's own names of the phonemes, in ASCII; clauses are divided by a space."""
        self._set_voice(voice)
        rest = ctypes.c_char_p(text.encode())
        clauses = []
        while rest.value:
            # The library moves `rest` on by a clause and sets it to null after the last.
            clause = self._library.espeak_TextToPhonemes(ctypes.byref(rest), 1, 0)
            if clause:
                clauses.append(clause.decode())
        return " ".join(clauses)

    def _set_voice(self, voice: str) -> None:
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice '{voice}'")

    def _receive(
        self,
        samples: "ctypes._Pointer[ctypes.c_short]",
        count: int,
        events: "ctypes._Pointer[_Event]",
    ) -> int:
        if count > 0 and samples:
            self._blocks.append(np.ctypeslib.as_array(samples, shape=(count,)).copy())
        i = 0
        while events[i].type != EVENT_LIST_END:
            event = events[i]
            if event.type == EVENT_WORD:
                time = event.audio_position / 1000
                self._words.append(WordEvent(event.text_position, event.length, time))
            i += 1
        return 0
