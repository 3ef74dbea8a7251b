"""What Whisper is known to write where nobody speaks."""

from __future__ import annotations

import re
import unicodedata

from node.core.loops import deloop


def says_what_silence_says(text: str) -> bool:
    """Whether the whole text is a phrase that Whisper is known to write where nobody speaks."""
    bare = plain(deloop(text))
    return bare in _PHRASES or _CREDIT.fullmatch(bare) is not None


def plain(text: str) -> str:
    """Lower case, without accents and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("œ", "oe"))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(re.findall(r"[^\W_]+", bare))


_PHRASES = frozenset(
    """
    you
    thank you
    thank you very much
    thank you so much
    thank you bye
    thank you for watching
    thank you so much for watching
    thanks for watching
    thanks for watching bye
    thanks for watching and i ll see you next time
    bye
    bye bye
    i ll see you next time
    see you next time
    see you in the next video
    i ll see you in the next video
    please subscribe
    please subscribe to my channel
    please like and subscribe
    like and subscribe
    don t forget to like and subscribe
    subscribe
    subscribe to my channel
    subtitles by
    subtitles by the community
    transcription by castingwords
    transcribed by otter ai
    www mooji org
    music
    applause
    silence
    blank audio
    merci
    merci beaucoup
    merci d avoir regarde
    merci d avoir regarde cette video
    merci d avoir regarde la video
    merci d avoir regarde jusqu au bout
    merci d avoir visionne cette video
    merci de votre attention
    au revoir
    a bientot
    a la prochaine
    a bientot pour une nouvelle video
    a la prochaine video
    on se retrouve dans une prochaine video
    abonnez vous
    abonnez vous a la chaine
    abonnez vous a ma chaine
    n oubliez pas de vous abonner
    n hesitez pas a vous abonner
    n hesitez pas a vous abonner a la chaine
    sous titrage
    sous titrage fr
    sous titrage st 501
    sous titrage societe radio canada
    sous titres par
    sous titres francophones
    par soustitreur com
    musique
    applaudissements
    """.strip()
    .replace("    ", "")
    .splitlines()
)
"""English and French, written as `plain` gives them.

Gathered from the lists in openai/whisper discussions #679 and #928, Barański et al. 2025
(arXiv 2501.11378) and Vexa-ai/vexa #155. Thanks and goodbyes are among them, which people do say:
that is why doubt must come first.
"""

_CREDIT = re.compile(
    r"(sous titr|subtit|legend|untertit|ondertit|sottotit|napis|transcri|caption)\w*"
    r"( \w+){0,8} (amara org|soustitreur com|castingwords)( \w+)?"
)
"""Credits of subtitles, in the many ways that Whisper spells them."""
