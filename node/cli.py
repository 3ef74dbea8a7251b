"""The command line: arguments, logging, exit status. Each command is a module of its own."""

from __future__ import annotations

import argparse
import logging
import os
import select
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from node import __version__
from node.adapters.systemd import JournalFormatter, LineFormatter, Notifier, logs_to_journal
from node.errors import EXIT_CONFIG, EXIT_FAILED, ConfigError, NodeError

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger("node")

CLONE_CONFIG = Path("config/node.yaml")
INSTALLED_CONFIG = Path("/etc/scribe-node/node.yaml")


def main(argv: list[str] | None = None) -> int:
    """Run one command; gives the exit status: 0 done, 1 failed, 78 the configuration is wrong."""
    arguments = _parser().parse_args(argv)
    _log_to_stderr(verbose=arguments.verbose)
    try:
        status = int(arguments.run(arguments))
        sys.stdout.flush()
    except NodeError as error:
        _complain(str(error))
        return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILED
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] == "node":
            raise
        _complain(
            f"{error.name} is not installed for {sys.executable}; `make run` installs all that is"
            " needed in .venv: call .venv/bin/python -m node"
        )
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return EXIT_FAILED
    return status


def _nobody_reads() -> bool:
    """Whether standard output is closed at its other end, as by `| head`; then it is let go of.

    Else Python would complain when it flushes on its way out (its library's note on SIGPIPE).
    """
    output = select.poll()
    output.register(sys.stdout, 0)  # errors are reported unasked
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _complain(text: str) -> None:
    """Say why the program ends: bare in a terminal, in the journal with the priority it has."""
    if not logs_to_journal():
        sys.stderr.write(f"{text}\n")
        return
    for line in text.splitlines():
        log.critical("%s", line)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scribe-node",
        description="Several microphones in, one speaker-tagged transcript out, over MQTT.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("-v", "--verbose", action="store_true", help="log at level DEBUG")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="serve: take commands over MQTT until stopped")
    _with_config(run).set_defaults(run=_run)
    _add_demo(commands)
    _add_transcribe(commands)
    mics = commands.add_parser("mics", help="the microphones, with a live level of each")
    _with_config(mics).set_defaults(run=_module("mics"))
    _add_looks(commands)
    check = commands.add_parser("check", help="try everything, say what is wrong and what to do")
    _with_config(check).set_defaults(run=_module("check"))
    bench = commands.add_parser("bench", help="what this machine can do, and which model to choose")
    bench.add_argument("--json", action="store_true", help="for scripts")
    _with_config(bench).set_defaults(run=_module("bench"))
    fetch = commands.add_parser("fetch-model", help="download the Whisper model")
    fetch.add_argument("name", nargs="?", metavar="NAME", help="default: the configuration's")
    _with_config(fetch).set_defaults(run=_module("fetch_model"))
    return parser


def _add_demo(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    demo = commands.add_parser("demo", help="a recorded meeting, live, with everything built in")
    add = demo.add_argument
    add("--mics", action="store_true", help="your own microphones and a real model instead")
    add("--speaker", action="append", default=[], help="with --mics: a name for each, in order")
    add("--config", type=Path, metavar="FILE", help="with --mics: microphones, model and the like")
    demo.set_defaults(run=_module("demo"))


def _add_looks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """What looks at a node that runs, or at what it has stored, and changes nothing."""
    status = commands.add_parser("status", help="how the running node is, asked over MQTT")
    status.add_argument("--watch", action="store_true", help="go on showing it until Ctrl-C")
    _with_config(status).set_defaults(run=_module("status"))
    sessions = commands.add_parser("sessions", help="the sessions stored on this machine")
    _with_config(sessions).set_defaults(run=_module("sessions"))
    transcript = commands.add_parser("transcript", help="print a stored session's transcript")
    transcript.add_argument("id", nargs="?", metavar="ID", help="default: the newest session")
    transcript.add_argument("--format", choices=("text", "json", "srt", "vtt"), default="text")
    _with_config(transcript).set_defaults(run=_module("transcript"))


def _add_transcribe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "transcribe", help="transcribe recorded tracks of one meeting, one file a microphone"
    )
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="FILE")
    add("--speaker", action="append", default=[], help="name for each file, in their order")
    offset = "when each file began, in their order; default: found from the sound that they share"
    add("--offset", action="append", type=float, default=[], metavar="SECONDS", help=offset)
    add("--language", help="a code as fr, or auto; default: the configuration's")
    add("--model", help="Whisper model name or folder; default: the configuration's")
    add("--window", choices=("fit", "full"), help="what is encoded; default: the configuration's")
    add("--compare-window", action="store_true", help="show what the two windows do, and no more")
    add("--format", choices=("text", "json", "srt", "vtt"), default="text")
    add("--output", type=Path, metavar="FILE", help="default: standard output")
    add("--config", type=Path, metavar="FILE", help="where all other settings come from")
    parser.set_defaults(run=_module("transcribe"))


def _module(command: str) -> Callable[[argparse.Namespace], int]:
    """The command's `run`, imported only when it is called: its libraries take a second to load."""

    def run(arguments: argparse.Namespace) -> int:
        status: int = import_module(f"node.commands.{command}").run(arguments)
        return status

    return run


def _with_config(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument(
        "--config", type=Path, default=_config(), metavar="FILE", help="default: %(default)s"
    )
    return parser


def _config() -> Path:
    """The clone's configuration where its own program runs in it, else the service's if any."""
    in_clone = Path(__file__).parents[1] == Path.cwd() and CLONE_CONFIG.exists()
    return INSTALLED_CONFIG if not in_clone and _exists(INSTALLED_CONFIG) else CLONE_CONFIG


def _exists(file: Path) -> bool:
    """Whether it is there, also where this user may not look."""
    try:
        return file.exists()
    except PermissionError:
        return True


def _run(arguments: argparse.Namespace) -> int:
    notifier = Notifier.from_environment()
    try:
        # Imported here: the engine's libraries take a second that `--help` need not pay.
        from node.app import Node  # noqa: PLC0415
        from node.config import load_config  # noqa: PLC0415

        status = Node(load_config(arguments.config), arguments.config, notifier).run()
    except NodeError as error:
        notifier.status(_in_a_line(error))
        raise
    logging.shutdown()
    # A thread that hangs in native code would turn the interpreter's own exit into an abort.
    os._exit(status)


def _in_a_line(error: NodeError) -> str:
    """The first problem, as `systemctl status` has room for one line."""
    first, *rest = str(error).splitlines() or [type(error).__name__]
    return f"{first} (and {len(rest)} more, see the journal)" if rest else first


def _log_to_stderr(*, verbose: bool) -> None:
    """One line an event; in the journal with its priority, and without a time: it has its own."""
    handler = logging.StreamHandler()
    if logs_to_journal():
        handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    for chatty in ("httpx", "httpx2", "httpcore", "huggingface_hub", "faster_whisper"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
