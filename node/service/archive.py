"""Transcripts of past and running sessions: read from the store, written to files."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from node.core.text.format_names import AT_THE_END, SUFFIX
from node.core.text.formats import WRITERS, seglst, subrip, webvtt
from node.core.text.markdown import head, paragraphs
from node.core.text.transcript import Transcript, about, final_body, merge, plain

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, tzinfo

    from node.adapters.store import Sessions, Traces
    from node.adapters.transcripts import TranscriptFolder
    from node.core.model import Session
    from node.core.mqtt.payloads import FinalPayload
    from node.core.mqtt.topics import Topics


class Archive:
    """Owned by the main thread."""

    def __init__(
        self,
        *,
        sessions: Sessions,
        traces: Traces,
        folder: TranscriptFolder,
        topics: Topics,
        zone: tzinfo,
    ) -> None:
        self._sessions = sessions
        self._traces = traces
        self._folder = folder
        self._topics = topics
        self._zone = zone

    def transcript(self, session: Session) -> Transcript:
        """Return the session's segments so far, merged in the order they were spoken."""
        return Transcript(session, merge(self._sessions.segments(session.id)), self._zone)

    def page(self, session: Session, form: str, offset: int, limit: int) -> dict[str, Any]:
        """Return a page of a transcript, as in the answer to `transcript/get`.

        Offsets count segments in the format `json` and lines in the others: a segment interrupted
        by others takes several lines. In the format `json`, all pages together have what the
        session's JSON file has, without what a microphone heard of others.
        """
        whole = self.transcript(session)
        total = len(whole.segments if form == "json" else whole.turns)
        end = offset + limit
        answer: dict[str, Any] = {
            "session_id": session.id,
            "total": total,
            "next_offset": end if end < total else None,
        }
        if form == "json":
            part = whole.segments[offset:end]
            answer["session"] = about(whole)
            answer["segments"] = [segment.payload(session.started_at) for segment in part]
            ids = {segment.id for segment in part}
            answer["seglst"] = [seglst(turn) for turn in whole.turns if turn.segment.id in ids]
        elif form == "srt":
            answer["text"] = subrip(whole.turns[offset:end], first=offset + 1)
        elif form == "vtt":
            answer["text"] = webvtt(whole.turns[offset:end])
        elif form == "md":
            top = "" if offset else head(session, whole.turns, self._zone)
            answer["text"] = top + paragraphs(session, whole.turns[offset:end], self._zone)
        else:
            answer["text"] = plain(session, whole.turns[offset:end], self._zone)
        return answer

    def save(self, session: Session, moment: datetime, formats: Iterable[str]) -> dict[str, str]:
        """Write new files of a transcript; return their paths by suffix.

        The store notes their names first, so that they are deleted with their session.

        Raises:
            StoreError: the disk refuses.
        """
        texts = self._texts(session, [SUFFIX[form] for form in formats])
        files = self._folder.reserve(moment.astimezone(self._zone), texts)
        self._traces.note_files(session.id, (path.rpartition("/")[2] for path in files.values()))
        self._folder.write(files, texts)
        return files

    def finish(self, session: Session, moment: datetime) -> FinalPayload:
        """Write the session's files, close it in the store, and queue its final transcript.

        The names are stored before the files are written, so that after a crash in between the
        same files are written again, not a second set.

        Raises:
            StoreError: the disk refuses.
        """
        suffixes = [SUFFIX[form] for form in AT_THE_END]
        if session.files.keys() != set(suffixes):  # none yet, or their record is damaged
            files = self._folder.reserve(moment.astimezone(self._zone), suffixes)
            self._sessions.plan_files(session.id, files)
            session.files = files
        self._folder.write(session.files, self._texts(session, suffixes))
        body = final_body(self.transcript(session))
        payload = json.dumps(body, ensure_ascii=False)
        self._sessions.finish(session, [(self._topics.final, payload)])
        return body

    def _texts(self, session: Session, suffixes: Iterable[str]) -> dict[str, str]:
        """Return each file's text by suffix; JSON also has what each mic heard of others."""
        segments = self._sessions.segments(session.id)
        transcript = Transcript(session, merge(segments), self._zone)
        crosstalk = [segment for segment in segments if segment.crosstalk_of is not None]
        return {suffix: WRITERS[suffix](transcript, crosstalk) for suffix in suffixes}

    def remove_files(self, names: Iterable[str]) -> None:
        """Delete the transcript files of an erased session.

        Raises:
            StoreError: the disk is read-only.
        """
        self._folder.delete(names)

    def last(self) -> FinalPayload | None:
        """Return the newest finished session's transcript, for clients that connect later."""
        session = self._sessions.last_done()
        return final_body(self.transcript(session)) if session else None
