"""The command line: arguments, logging and exit status. Each command is a module of its own."""

from __future__ import annotations

import argparse
import logging
import os
import select
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from node import __version__
from node.adapters.systemd import JournalFormatter, LineFormatter, Notifier, logs_to_journal
from node.core.text.format_names import FORMATS
from node.errors import EXIT_CONFIG, EXIT_FAILED, ConfigError, NodeError

if TYPE_CHECKING:
    from collections.abc import Callable

    AddParser = Callable[..., argparse.ArgumentParser]

log = logging.getLogger("node")

CLONE_CONFIG = Path("config/node.yaml")
INSTALLED_CONFIG = Path("/etc/scribe-node/node.yaml")


def main(argv: list[str] | None = None) -> int:
    """Run a command; return its exit status: 0 done, 1 failed, 78 the configuration is wrong."""
    arguments = _parser().parse_args(argv)
    _keep_numpy_to_one_thread()
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
            f"{error.name} is not installed for {sys.executable}; `make run` installs everything"
            " needed in .venv: run .venv/bin/python -m node"
        )
        return EXIT_FAILED
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        if not _nobody_reads():
            raise
        return EXIT_FAILED
    return status


def _keep_numpy_to_one_thread() -> None:
    """Stop OpenBLAS from starting a thread per core, before anything imports numpy.

    Our matrices are small: the other threads would only wait for each other, busily. For three
    recordings of 2 min without speech, `transcribe` took 4.6 s of processor time with two threads
    and takes 1.9 s with one (medians of three). Whisper's threads are not numpy's.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def _nobody_reads() -> bool:
    """Return whether the reader of standard output is gone, as after `| head`.

    If so, redirect it to /dev/null, or Python would complain when it flushes at exit (see "Note on
    SIGPIPE" in its library reference).
    """
    output = select.poll()
    output.register(sys.stdout, 0)  # poll always reports errors
    if not output.poll(0):
        return False
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return True


def _complain(text: str) -> None:
    """Print why the program ends: plain text in a terminal, with a priority in the journal."""
    if not logs_to_journal():
        sys.stderr.write(f"{text}\n")
        return
    for line in text.splitlines():
        log.critical("%s", line)


class _Parser(argparse.ArgumentParser):
    """Remembers its arguments, which argparse does not tell, for `completion`."""

    def __init__(self, *args: Any, **keywords: Any) -> None:
        self.arguments: list[argparse.Action] = []
        super().__init__(*args, **keywords)

    def error(self, message: str) -> NoReturn:
        """End with the status of a wrong configuration, which no restart mends."""
        self.print_usage(sys.stderr)
        self.exit(EXIT_CONFIG, f"{self.prog}: error: {message}\n")

    def add_argument(self, *args: Any, **keywords: Any) -> argparse.Action:
        action = super().add_argument(*args, **keywords)
        self.arguments.append(action)
        return action


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="scribe-node",
        description="Several microphones in, one speaker-tagged transcript out, over MQTT.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("-v", "--verbose", action="store_true", help="log at level DEBUG")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="run the service: take commands over MQTT until stopped")
    _with_config(run).set_defaults(run=_run)
    _add_demo(commands.add_parser)
    _add_transcribe(commands.add_parser)
    _add_merge(commands.add_parser)
    mics = commands.add_parser("mics", help="show the microphones, with the live level of each")
    _with_config(mics).set_defaults(run=_module("mics"))
    _add_looks(commands.add_parser)
    check = commands.add_parser("check", help="test everything; say what is wrong and what to do")
    _with_config(check).set_defaults(run=_module("check"))
    bench = commands.add_parser("bench", help="measure this machine and recommend a model")
    bench.add_argument("--json", action="store_true", help="print JSON, for scripts")
    _with_config(bench).set_defaults(run=_module("bench"))
    fetch = commands.add_parser("fetch-model", help="download the Whisper model")
    fetch.add_argument("name", nargs="?", metavar="NAME", help="default: the configured model")
    _with_config(fetch).set_defaults(run=_module("fetch_model"))
    worker = commands.add_parser("worker", help="transcribe for the nodes on the broker")
    _with_config(worker).set_defaults(run=_module("worker"))
    _add_web(commands.add_parser)
    completion = commands.add_parser("completion", help="print a script that completes commands")
    completion.add_argument("shell", choices=("bash", "zsh"))
    own = {name: command.arguments for name, command in commands.choices.items()}
    completion.set_defaults(run=_module("completion"), parser=parser.arguments, commands=own)
    return parser


def _add_demo(add_parser: AddParser) -> None:
    demo = add_parser("demo", help="play a recorded meeting live; needs no setup")
    add = demo.add_argument
    add("--mics", action="store_true", help="use your own microphones and a real model instead")
    add("--speaker", action="append", default=[], help="with --mics: a name for each, in order")
    add("--config", type=Path, metavar="FILE", help="with --mics: microphones, model and so on")
    demo.set_defaults(run=_module("demo"))


def _add_looks(add_parser: AddParser) -> None:
    """Add the commands that look at a running node or its storage and change nothing."""
    status = add_parser("status", help="show the status of the running node, over MQTT")
    status.add_argument("--watch", action="store_true", help="keep showing it until Ctrl-C")
    _with_config(status).set_defaults(run=_module("status"))
    sessions = add_parser("sessions", help="list the sessions stored on this machine")
    _with_config(sessions).set_defaults(run=_module("sessions"))
    transcript = add_parser("transcript", help="print a stored session's transcript")
    transcript.add_argument("id", nargs="?", metavar="ID", help="default: the newest session")
    transcript.add_argument("--format", choices=FORMATS, default="text")
    _with_config(transcript).set_defaults(run=_module("transcript"))


def _add_web(add_parser: AddParser) -> None:
    web = add_parser("web", help="serve a web page for the nodes on the broker")
    add = web.add_argument
    listen, proxy = (
        "default: %(default)s",
        "address of a proxy that logs people in; repeat for more",
    )
    add("--listen", default="127.0.0.1:8099", metavar="ADDRESS:PORT", help=listen)
    add("--host", action="append", default=[], metavar="NAME", help="a name it is opened by")
    add("--ingress", action="append", default=[], metavar="ADDRESS", help=proxy)
    add("--set-password", action="store_true", help="ask for a password, keep its hash, and end")
    add("--password-file", type=Path, metavar="FILE", help="where the hash is kept")
    _with_config(web).set_defaults(run=_module("web"))


def _add_transcribe(add_parser: AddParser) -> None:
    parser = add_parser(
        "transcribe", help="transcribe the recordings of one meeting, one file per microphone"
    )
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="FILE")
    add("--speaker", action="append", default=[], help="a name for each file, in order")
    offset = "when each file began, in order; default: found from the sound they share"
    add("--offset", action="append", type=float, default=[], metavar="SECONDS", help=offset)
    add("--language", help="a code such as fr, or auto; default: as configured")
    add("--model", help="Whisper model name or folder; default: as configured")
    add("--window", choices=("fit", "full"), help="what is encoded; default: as configured")
    add("--compare-window", action="store_true", help="only compare the two windows")
    add("--format", choices=FORMATS, default="text")
    add("--output", type=Path, metavar="FILE", help="default: standard output")
    add("--config", type=Path, metavar="FILE", help="file with all other settings")
    parser.set_defaults(run=_module("transcribe"))


def _add_merge(add_parser: AddParser) -> None:
    parser = add_parser("merge", help="merge the transcripts that several nodes made of a meeting")
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="SESSION", help="the JSON file of a node's session")
    add("--by-node", action="store_true", help="put its node's name behind each speaker's")
    add("--format", choices=FORMATS, default="text")
    add("--output", type=Path, metavar="FILE", help="default: standard output")
    add(
        "--config",
        type=Path,
        metavar="FILE",
        help="file with the time zone; default: this machine's",
    )
    parser.set_defaults(run=_module("merge"))


def _module(command: str) -> Callable[[argparse.Namespace], int]:
    """Return the command's `run`, imported when called: its libraries take a second to load."""

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
    """Return the clone's configuration if run inside the clone, else the service's if it exists."""
    in_clone = Path(__file__).parents[1] == Path.cwd() and CLONE_CONFIG.exists()
    return INSTALLED_CONFIG if not in_clone and _exists(INSTALLED_CONFIG) else CLONE_CONFIG


def _exists(file: Path) -> bool:
    """Return whether the file exists; assume so if this user may not look."""
    try:
        return file.exists()
    except PermissionError:
        return True


def _run(arguments: argparse.Namespace) -> int:
    notifier = Notifier.from_environment()
    try:
        # Imported here: the engine's libraries take a second to load, which `--help` should not.
        from node.app import Node  # noqa: PLC0415  # it takes a moment
        from node.config import load_config  # noqa: PLC0415  # it takes a moment

        status = Node(load_config(arguments.config), arguments.config, notifier).run()
    except NodeError as error:
        notifier.status(_in_a_line(error))
        raise
    logging.shutdown()
    # A thread that hangs in native code would turn the interpreter's own exit into an abort.
    os._exit(status)


def _in_a_line(error: NodeError) -> str:
    """Return the first problem: `systemctl status` has room for one line."""
    first, *rest = str(error).splitlines() or [type(error).__name__]
    return f"{first} (and {len(rest)} more, see the journal)" if rest else first


def _log_to_stderr(*, verbose: bool) -> None:
    """Log one line per event; the journal gets its priority, and adds the time itself."""
    handler = logging.StreamHandler()
    if logs_to_journal():
        handler.setFormatter(JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(LineFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    for chatty in ("httpx", "httpx2", "httpcore", "huggingface_hub", "faster_whisper"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
