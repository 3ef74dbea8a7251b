"""The English and French sentences that the demonstration model was trained on.

A sentence is drawn from a pattern. In a pattern `{room}` stands for a word drawn for the slot of
that name, `[on|off]` for one of the alternatives, `(please|today)` for a space and one of the
alternatives or for nothing, and a number as in `(0.8:please)` for the probability of saying it
(half otherwise).

The order in which random numbers are used is part of the recipe: with the same seed the training
data must come out the same. So every slot is drawn for every sentence, used or not, and groups are
resolved inside out, from left to right.
"""

import random
import re
from dataclasses import dataclass

OPTIONAL_SAID = 0.5
LONGEST_RANDOM_SENTENCE = 5  # words

_GROUP = re.compile(r"\[(?P<choice>[^][()]*)\]|\((?:(?P<odds>[\d.]+):)?(?P<optional>[^][()]*)\)")


@dataclass(frozen=True)
class Grammar:
    """The sentences of one language.

    Attributes:
        slots: the alternatives of each slot, in the order in which they are drawn.
        patterns: see the module; all are equally likely.
        content_words: of the sentences without grammar, which keep the model from learning the
            patterns only.
    """

    slots: dict[str, tuple[str, ...]]
    patterns: tuple[str, ...]
    content_words: tuple[str, ...]

    def draw(self, rng: random.Random) -> str:
        chosen = {name: rng.choice(words) for name, words in self.slots.items()}
        text = self.patterns[rng.randrange(len(self.patterns))]
        while group := _GROUP.search(text):
            text = text[: group.start()] + _resolve(group, rng) + text[group.end() :]
        return text.format_map(chosen)

    def draw_words(self, rng: random.Random) -> str:
        count = rng.randint(1, LONGEST_RANDOM_SENTENCE)
        return " ".join(rng.choice(self.content_words) for _ in range(count))

    def words(self) -> frozenset[str]:
        """Every word that a sentence may hold, as written inside a sentence."""
        markup = re.compile(r"{\w+}|[\d.]+:|[][()|?]")
        texts = [markup.sub(" ", pattern) for pattern in self.patterns]
        texts += [text for slot in self.slots.values() for text in slot]
        return frozenset(" ".join([*texts, *self.content_words]).split())


def _resolve(group: re.Match[str], rng: random.Random) -> str:
    choice, odds, optional = group.group("choice", "odds", "optional")
    if choice is not None:
        return rng.choice(str(choice).split("|"))
    said = rng.random() < float(odds or OPTIONAL_SAID)
    return " " + rng.choice(str(optional).split("|")) if said else ""


def sentence(language: str, rng: random.Random, random_words: float = 0.0) -> str:
    """One sentence, with its capital and its full stop or question mark.

    `language` is "en" or "fr"; `random_words` is the probability of words without grammar.
    """
    grammar = GRAMMARS[language]
    if rng.random() < random_words:
        return _punctuated(grammar.draw_words(rng))
    return _punctuated(grammar.draw(rng))


def _punctuated(text: str) -> str:
    text = text[0].upper() + text[1:]
    return text if text[-1] in ".?" else text + "."


_EN_NUMBERS = (
    *("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "fifteen", "twenty", "thirty", "forty", "fifty"),
)
_FR_NUMBERS = (
    *("deux", "trois", "quatre", "cinq", "six", "sept", "huit", "neuf", "dix"),
    *("onze", "douze", "quinze", "vingt", "trente", "quarante", "cinquante"),
)

ENGLISH = Grammar(
    slots={
        "room": ("kitchen", "bedroom", "bathroom", "garden", "office"),
        "name": ("Anna", "Paul", "the doctor", "my sister"),
        "day": ("today", "tomorrow", "tonight", "on monday", "on friday"),
        "number": _EN_NUMBERS,
        "hour": _EN_NUMBERS[1:11],
        "plural": _EN_NUMBERS[1:],
    },
    patterns=(
        "turn [on|off] the {room} [light|radio|heater](please)",
        "turn [on|off] the [light|radio|heater|music] in the {room}",
        "[open|close] the {room} [door|window](please)",
        "the [meeting|movie|lesson|party] [starts|ends] at {hour}({day})",
        "[dinner|coffee] is ready(in {plural} minutes|in the {room})",
        "set [the alarm|a timer] for {plural} [minutes|hours]",
        "[what time is it|what time is the [meeting|movie|lesson|party]]?",
        "[good morning|good evening|hello|goodbye|welcome](0.8:everyone|Anna|Paul)",
        "thank you very much(everyone|Anna|Paul)",
        "please call {name}({day})",
        "i need {plural} [apples|eggs|bottles]({day})",
        "where is my [phone|book|bag|coffee]?",
        "the budget is {plural} thousand euros",
        "we have {plural} minutes left(in the meeting|today)",
        "{name} is in the {room}({day})",
        "my [phone|book|bag] is in the {room}",
        "we need [a new|the] [budget|window|phone|door|radio]({day})",
        "[play|stop] the music(please|in the {room})",
        "i have a [meeting|lesson|party] {day}(at {hour})",
        "can you [open|close] the [door|window](please)?",
        "{name} needs {plural} [minutes|hours|apples|eggs|bottles]",
        "the {room} is [very cold|very hot|ready](today|tonight)",
    ),
    content_words=(
        *("turn", "off", "kitchen", "bedroom", "bathroom", "garden", "office", "light", "radio"),
        *("heater", "music", "open", "close", "door", "window", "meeting", "movie", "lesson"),
        *("party", "starts", "ends", "today", "tomorrow", "tonight", "monday", "friday", "dinner"),
        *("coffee", "ready", "minutes", "hours", "alarm", "timer", "please", "good", "morning"),
        *("evening", "hello", "goodbye", "welcome", "everyone", "thank", "call", "doctor"),
        *("sister", "apples", "eggs", "bottles", "phone", "book", "bag", "budget", "thousand"),
        *("euros", "left", "play", "stop", "cold", "hot", "new", *_EN_NUMBERS),
    ),
)

FRENCH = Grammar(
    slots={
        "of_room": ("de la cuisine", "du salon", "de la chambre", "du jardin", "du bureau"),
        "in_room": (
            *("dans la cuisine", "dans le salon", "dans la chambre"),
            *("dans le jardin", "dans le bureau"),
        ),
        "name": ("Marie", "Paul", "le médecin", "ma sœur"),
        "day": ("demain", "ce soir", "aujourd'hui", "lundi", "vendredi"),
        "plural": _FR_NUMBERS,
        "hour": _FR_NUMBERS[:10],
        "event": ("la réunion", "le film", "le cours", "la fête"),
    },
    patterns=(
        "[allume|éteins] [la lumière|la radio|le chauffage] {of_room}(0.3:s'il vous plaît)",
        "[allume|éteins] [la lumière|la radio|le chauffage|la musique] {in_room}",
        "[ouvre|ferme] la [porte|fenêtre] {of_room}(0.3:s'il vous plaît)",
        "{event} [commence|finit] à {hour} heures({day})",
        "le [dîner|café] est prêt(dans {plural} minutes|{in_room})",
        "règle le réveil [pour|dans] {plural} [minutes|heures]",
        "[quelle heure est-il|à quelle heure commence {event}|à quelle heure finit {event}]?",
        "[bonjour|bonsoir|salut|bienvenue](0.8:tout le monde|Marie|Paul)",
        "merci beaucoup(tout le monde|Marie|Paul)",
        "appelle {name}({day})",
        "j'ai besoin de {plural} [pommes|bouteilles]({day})",
        "où est mon [téléphone|livre|sac|café]?",
        "le budget est de {plural} mille euros",
        "il reste {plural} minutes(pour la réunion|aujourd'hui)",
        "{name} est {in_room}({day})",
        "mon [téléphone|livre|sac] est {in_room}",
        "nous avons besoin [du|de mon] [budget|téléphone|livre]({day})",
        "[mets|arrête] la musique(s'il vous plaît|{in_room})",
        "nous avons [une réunion|un cours|une fête] {day}(à {hour} heures)",
        "peux tu [ouvrir|fermer] la [porte|fenêtre](s'il vous plaît)?",
        "{name} [veut|demande] {plural} [minutes|heures|pommes|bouteilles]",
        "[la cuisine|la chambre] est très [froide|chaude](aujourd'hui|ce soir)",
    ),
    content_words=(
        *("allume", "éteins", "cuisine", "salon", "chambre", "jardin", "bureau", "lumière"),
        *("radio", "chauffage", "musique", "ouvre", "ferme", "porte", "fenêtre", "réunion"),
        *("film", "cours", "fête", "commence", "finit", "demain", "lundi", "vendredi", "dîner"),
        *("café", "réveil", "bonjour", "bonsoir", "salut", "bienvenue", "merci", "beaucoup"),
        *("appelle", "médecin", "budget", "téléphone", "livre", "sac", "besoin", "mille"),
        *("euros", "arrête", "très", "froide", "chaude", *_FR_NUMBERS),
    ),
)

GRAMMARS = {"en": ENGLISH, "fr": FRENCH}
