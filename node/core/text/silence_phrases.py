"""What Whisper is known to write where nobody speaks."""

from __future__ import annotations

import re
import unicodedata

from node.core.text.loops import deloop


def is_credit(text: str) -> bool:
    """Whether the whole text is a credit or a farewell of videos: hardly said in a meeting."""
    bare = plain(deloop(text))
    return bare in _CREDITS or _CREDIT.fullmatch(bare) is not None


def is_courtesy(text: str) -> bool:
    """Whether the whole text is thanks or a goodbye that Whisper writes in silence, too."""
    return plain(deloop(text)) in _COURTESIES


def plain(text: str) -> str:
    """Lower case, without accents and punctuation."""
    decomposed = unicodedata.normalize("NFKD", text.casefold().replace("œ", "oe"))
    bare = "".join(char for char in decomposed if not unicodedata.combining(char))
    return " ".join(re.findall(r"[^\W_]+", bare))


def _lines(text: str) -> frozenset[str]:
    return frozenset(line.strip() for line in text.strip().splitlines())


_CREDITS = _lines(
    """
    thank you for watching
    thank you so much for watching
    thanks for watching
    thanks for watching bye
    thanks for watching and i ll see you next time
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
    applause
    blank audio
    merci d avoir regarde
    merci d avoir regarde cette video
    merci d avoir regarde la video
    merci d avoir regarde jusqu au bout
    merci d avoir visionne cette video
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
    applaudissements
    """
)
_COURTESIES = _lines(
    """
    you
    thank you
    thank you very much
    thank you so much
    thank you bye
    bye
    bye bye
    i ll see you next time
    see you next time
    music
    silence
    merci
    merci beaucoup
    merci de votre attention
    au revoir
    a bientot
    a la prochaine
    musique
    """
)
"""Both English and French, written as `plain` gives them.

What others found and published: openai/whisper discussion #928 as collected by JSchmie/ScrAIbe,
McCloudS/subgen #21, Vexa-ai/vexa #155. A bag of such phrases beside delooping and a voice activity
detector is what Barański et al. 2025 (arXiv 2501.11378) found to lower errors.
"""

_CREDIT = re.compile(
    r"(sous titr|subtit|legend|untertit|ondertit|sottotit|napis|transcri|caption)\w*"
    r"( \w+){0,8} (amara org|soustitreur com|castingwords)( \w+)?"
)
"""Credits of subtitles, in the many ways that Whisper spells them."""
