"""`status`: the running node at a glance, from what it publishes over MQTT."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from node.commands.follower import Follower
from node.commands.tables import new_console, new_table, print_table
from node.config import load_config
from node.core.mqtt.topics import OFFLINE, ONLINE, Topics
from node.errors import NodeError
from node.service.settings import broker_settings

if TYPE_CHECKING:
    import argparse

    from rich.console import Console, RenderableType
    from rich.table import Table

WAIT_S = 3.0
"""Retained states come with the subscription; a node that is starting has none yet."""

REFRESH_S = 5.0
LINES = 5
"""Lines shown of the live transcript."""

STATE_COLOURS = {
    "idle": "green",
    "recording": "red",
    "starting": "yellow",
    "stopping": "yellow",
    "error": "bold red",
    OFFLINE: "bold red",
}


def run(arguments: argparse.Namespace) -> int:
    """Print it once, or show it live until Ctrl-C; return 1 if the node is offline.

    Raises:
        ConfigError: the configuration is wrong.
        NodeError: the broker cannot be reached, or knows of no such node.
    """
    config = load_config(arguments.config)
    topics = Topics(config.mqtt.base_topic, config.node.id)
    states = (topics.status, topics.info, topics.session, topics.mics)
    with Follower(broker_settings(config), (*states, topics.health, topics.live)) as follower:
        follower.wait(states, WAIT_S)
        if not follower.text(topics.status):
            raise NodeError(
                f"the broker {config.mqtt.host} knows no node {topics.root}: is it running with"
                " this configuration?"
            )
        view = _View(follower, topics, new_console())
        if arguments.watch:
            view.watch()
        else:
            view.print()
        return 0 if follower.text(topics.status) == ONLINE else 1


class _View:
    """What is shown of the payloads that have arrived."""

    def __init__(self, follower: Follower, topics: Topics, console: Console) -> None:
        self._follower = follower
        self._topics = topics
        self._console = console

    def print(self) -> None:
        for line in (*self._head(), *self._last_lines()):
            self._console.print(line, soft_wrap=True)
        print_table(self._console, self._mics())

    def watch(self) -> None:
        try:
            with Live(self._all(), console=self._console, auto_refresh=False) as live:
                while True:
                    self._follower.wait_news(REFRESH_S)
                    live.update(self._all(), refresh=True)
        except KeyboardInterrupt:
            return

    def _all(self) -> RenderableType:
        return Group(*self._head(), *self._last_lines(), self._mics(), Text("Ctrl-C ends", "dim"))

    def _head(self) -> list[Text]:
        info = self._follower.json(self._topics.info)
        health = self._follower.json(self._topics.health)
        lines = [
            Text(f"{self._topics.root}: ").append(*self._state()),
            Text(f"version {info.get('version', '?')}, model {info.get('model', '?')}", "dim"),
        ]
        if health:
            lines.append(Text(_health(health), "dim"))
        session = self._follower.json(self._topics.session)
        problems = dict.fromkeys((info.get("model_notice"), session.get("message")))
        return lines + [Text(str(problem), "yellow") for problem in problems if problem]

    def _state(self) -> tuple[str, str]:
        """Return the state in words, and its colour."""
        session = self._follower.json(self._topics.session)
        if not self._follower.connected:
            return "no connection to the broker; what follows is old", STATE_COLOURS[OFFLINE]
        if self._follower.text(self._topics.status) != ONLINE:
            return "offline; what follows is the last it published", STATE_COLOURS[OFFLINE]
        state = str(session.get("state", "unknown"))
        words = [state]
        if session.get("session_id"):
            words += [f"session {session['session_id']}", f"{session['segments_total']} segments"]
        if older := [
            each for each in session.get("finishing", ()) if each != session["session_id"]
        ]:
            words.append(f"{len(older)} older still being written")
        if session.get("backlog_s"):
            words.append(f"{session['backlog_s']:g} s to transcribe")
        return ", ".join(words), STATE_COLOURS.get(state, "")

    def _mics(self) -> Table:
        table = new_table(self._console, "#", "mic", "speaker", "state", "level")
        for mic in self._follower.json(self._topics.mics).get("mics", []):
            level = mic["level_dbfs"]
            table.add_row(
                str(mic["index"]),
                Text(mic["mic"]),
                Text(mic["speaker"] or "-"),
                _mic_state(mic),
                "-" if level is None else f"{level:.1f} dBFS",
            )
        return table

    def _last_lines(self) -> list[Text]:
        live = self._follower.json(self._topics.live)
        return [Text(line) for line in str(live.get("text", "")).splitlines()[-LINES:]]


def _mic_state(mic: dict[str, Any]) -> Text:
    if not mic["connected"]:
        return Text("disconnected", "red")
    if not mic["enabled"]:
        return Text("muted", "yellow")
    return Text("recording", "red") if mic["recording"] else Text("idle", "green")


def _health(health: dict[str, Any]) -> str:
    """Return the figures of `T/health` that tell whether the machine keeps up."""
    parts = [
        f"{health.get('outbox', 0)} messages unsent",
        f"{health.get('backlog_s') or 0:g} s to transcribe",
        f"{health.get('rss_mb') or 0:.0f} MB",
        f"{health.get('disk_free_mb') or 0:.0f} MB of disk free",
    ]
    if health.get("temperature_c") is not None:
        parts.append(f"{health['temperature_c']:.0f} °C")
    return ", ".join(parts)
