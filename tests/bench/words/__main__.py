"""How many words of recorded speech are wrong: `python -m tests.bench.words --speech FOLDER`.

Each speaker's utterances go straight into the engine, in order and unchanged, without microphones,
voice detection or other voices. With `--through` they go through all of that. With
`--fan` each of the short ones is transcribed by itself, after the noise of a fan.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from node.errors import NodeError
from tests.bench import trained
from tests.bench.markdown import put
from tests.bench.speech import LANGUAGES, WHERE, SpeechError, recordings
from tests.bench.words import fan
from tests.bench.words.clips import LONGEST_S, MAKERS, Heard, hear
from tests.bench.words.report import markdown, whole_markdown, worst, worst_wholes
from tests.bench.words.through import through

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.bench.speech import Speakers

PLACE = "words"
"""Name of the marks that the table of docs/performance.md stands between."""


def main() -> None:
    given = _arguments()
    try:
        table, ranked = _measured(given)
    except NodeError as error:
        raise SystemExit(str(error)) from error
    print(table)
    print("\n".join(ranked))
    if given.into:
        text = given.into.read_text(encoding="utf-8")
        given.into.write_text(put(text, PLACE, table), encoding="utf-8")


def _measured(given: argparse.Namespace) -> tuple[str, list[str]]:
    """The table, and the worst."""
    speakers = recordings(given.speech)
    model = trained.folder(given.model)
    spoken = {recording.lang for said in speakers.values() for recording in said}
    languages = sorted(spoken | set(LANGUAGES))
    if given.fan:
        rows = _behind_a_fan(speakers, model, languages, given)
        return fan.markdown(rows), fan.missed(rows)
    if given.through:
        wholes = []
        for said in speakers.values():
            wholes.append(through(said, model, languages))
            _say(f"{wholes[-1].name}: {wholes[-1].errors.wrong} wrong")
        return whole_markdown(wholes), worst_wholes(wholes, given.worst)
    heard: list[Heard] = []
    systems = {name: make(model, languages, given.threads) for name, make in MAKERS.items()}
    for name, said in speakers.items():
        short = [recording for recording in said if recording.seconds <= LONGEST_S]
        if missing := len(said) - len(short):
            _say(f"{name}: {missing} utterances above {LONGEST_S:g} s are left out")
        heard += hear(short, systems)
        _say(f"{name}: {len(short)} utterances")
    return markdown(heard), worst(heard, given.worst)


def _behind_a_fan(
    speakers: Speakers, model: Path, languages: Sequence[str], given: argparse.Namespace
) -> list[fan.Row]:
    short = [r for said in speakers.values() for r in said if r.seconds <= fan.LONGEST_S]
    if not short:
        raise SpeechError(f"no utterance there is of at most {fan.LONGEST_S:g} s")
    found = []
    for row in fan.rows(short, model, languages, given.threads, given.level or fan.LEVELS_DBFS):
        found.append(row)
        _say(f"{row.level_dbfs:g} dBFS, {row.frames} frames: {row.errors.wrong} wrong")
    return found


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.bench.words", description=__doc__)
    add = parser.add_argument
    add("--speech", type=Path, metavar="FOLDER", help="recordings (required)")
    add("--model", choices=trained.NAMES, default="base")
    add("--threads", type=int, default=1, help="threads of each system (%(default)s)")
    add("--through", action="store_true", help="one recording per speaker, with `transcribe`")
    add("--fan", action="store_true", help="short utterances after 1 s and after 2 min of a fan")
    add("--level", type=float, action="append", metavar="DBFS", help="of the voice, with --fan")
    add("--worst", type=int, default=0, metavar="N", help="list the N worst utterances")
    add("--into", type=Path, help="put the table into this file, between marks")
    given = parser.parse_args()
    if given.speech is None:
        parser.error(f"--speech (with make: SPEECH=FOLDER) is required. {WHERE}")
    if given.level and not given.fan:
        parser.error("--level is for --fan")
    if given.through and given.fan:
        parser.error("give --through or --fan, not both")
    if given.into and (given.through or given.fan):
        parser.error("--into is for the table without --through and --fan")
    return given


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
