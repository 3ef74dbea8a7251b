"""wyoming-faster-whisper as Home Assistant's users run it: its server, fed over TCP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Self

import psutil

from node.core.model import SAMPLE_RATE
from tests.bench.speed.setup import Job
from tests.rig.broker import HOST, free_port

if TYPE_CHECKING:
    from tests.bench.speed.meeting import Meeting, Samples, Turn
    from tests.bench.speed.setup import Setup

CHUNK = 1024
"""Samples in one event, as a satellite sends them."""

START_S = 60.0
SERVER = "wyoming_faster_whisper"


class Wyoming:
    """Sends each turn once, from its speaker's microphone, to the server with its defaults.

    That favours it: a satellite at every microphone would also send what it hears of the others.
    """

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self.parts_s: dict[str, float] = {}
        self._port = free_port()
        module = SERVER if setup.trained else "tests.bench.speed.pace"
        self._server = subprocess.Popen(
            [sys.executable, "-m", module, *self._arguments()], env={**os.environ, "PACED": SERVER}
        )
        self.process = psutil.Process(self._server.pid)

    def _arguments(self) -> list[str]:
        folder = str(self._setup.folder)
        return [
            *("--uri", f"tcp://{HOST}:{self._port}", "--model", folder, "--data-dir", folder),
            *("--cpu-threads", str(self._setup.threads), "--stt-library", "faster-whisper"),
            "--local-files-only",
        ]

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_S
        while True:
            with contextlib.suppress(OSError):
                asyncio.run(self._ask(b"\0\0" * SAMPLE_RATE))
                return self
            if time.monotonic() > deadline or self._server.poll() is not None:
                raise RuntimeError("the server of wyoming-faster-whisper does not answer")
            time.sleep(0.1)

    def __exit__(self, *_exception: object) -> None:
        self._server.terminate()
        self._server.wait(10)

    def run(self, meeting: Meeting) -> list[Job]:
        return [self._job(turn) for turn in meeting.turns]

    def _job(self, turn: Turn) -> Job:
        began = time.perf_counter()
        self._say(turn.samples)
        end = turn.end / SAMPLE_RATE
        return Job(end, time.perf_counter() - began, (end,))

    def _say(self, samples: Samples) -> None:
        asyncio.run(self._ask(samples.tobytes()))

    async def _ask(self, pcm: bytes) -> None:
        from wyoming.asr import Transcribe, Transcript  # noqa: PLC0415  # only where installed
        from wyoming.audio import AudioChunk, AudioStart, AudioStop  # noqa: PLC0415
        from wyoming.client import AsyncTcpClient  # noqa: PLC0415

        form = {"rate": SAMPLE_RATE, "width": 2, "channels": 1}
        async with AsyncTcpClient(HOST, self._port) as client:
            await client.write_event(Transcribe().event())
            await client.write_event(AudioStart(**form).event())
            for begin in range(0, len(pcm), 2 * CHUNK):
                chunk = AudioChunk(audio=pcm[begin : begin + 2 * CHUNK], **form)
                await client.write_event(chunk.event())
            await client.write_event(AudioStop().event())
            while (event := await client.read_event()) is not None:
                if Transcript.is_type(event.type):
                    return
        raise RuntimeError("wyoming-faster-whisper returned no transcript")
