"""Sentences that the demonstration model writes down exactly when `say` speaks them.

Spoken with 0.3 s of silence before and 0.5 s after, each gives its text and its language, with
timestamps and without; `python -m tests.model.check_sentences` shows it. Use these where a test is
about the service and a wrong word would only be the model's.
"""

from typing import NamedTuple


class Sentence(NamedTuple):
    """`language` is "en" or "fr", `voice` one of espeak-ng."""

    language: str
    voice: str
    text: str


SENTENCES = (
    Sentence("en", "en-us", "Hello everyone."),
    Sentence("en", "en-gb", "Good morning Anna."),
    Sentence("en", "en-us+f3", "Goodbye Paul."),
    Sentence("en", "en-us+f1", "Welcome everyone."),
    Sentence("en", "en-gb+m3", "Good evening."),
    Sentence("en", "en-us+f4", "What time is it?"),
    Sentence("en", "en-us", "Turn on the kitchen light please."),
    Sentence("en", "en-gb", "Turn off the radio in the bedroom."),
    Sentence("en", "en-us+f3", "Open the garden door."),
    Sentence("en", "en-us+f1", "Close the office window please."),
    Sentence("en", "en-gb+m3", "The meeting starts at nine."),
    Sentence("en", "en-us+f4", "The movie ends at eleven tonight."),
    Sentence("en", "en-us", "Dinner is ready in the garden."),
    Sentence("en", "en-gb", "Coffee is ready in ten minutes."),
    Sentence("en", "en-us+f3", "Set a timer for twenty minutes."),
    Sentence("en", "en-us+f1", "Set the alarm for six hours."),
    Sentence("en", "en-gb+m3", "What time is the lesson?"),
    Sentence("en", "en-us+f4", "Thank you very much Paul."),
    Sentence("en", "en-us", "Please call the doctor tomorrow."),
    Sentence("en", "en-gb", "I need twelve eggs today."),
    Sentence("en", "en-us+f3", "Where is my phone?"),
    Sentence("en", "en-us+f1", "The budget is forty thousand euros."),
    Sentence("en", "en-gb+m3", "We have three minutes left in the meeting."),
    Sentence("en", "en-us+f4", "My sister is in the office."),
    Sentence("en", "en-us", "My bag is in the bathroom."),
    Sentence("en", "en-gb", "We need the budget today."),
    Sentence("en", "en-us+f3", "Stop the music please."),
    Sentence("en", "en-us+f1", "I have a party on friday at seven."),
    Sentence("en", "en-gb+m3", "Can you open the window?"),
    Sentence("en", "en-us+f4", "The doctor needs five minutes."),
    Sentence("en", "en-us", "The bathroom is very hot today."),
    Sentence("fr", "fr-fr", "Bonjour Paul."),
    Sentence("fr", "fr-fr+m3", "Bonsoir Marie."),
    Sentence("fr", "fr-fr+f1", "Salut Paul."),
    Sentence("fr", "fr-fr+f5", "Bienvenue tout le monde."),
    Sentence("fr", "fr-be", "Bonjour tout le monde."),
    Sentence("fr", "fr-fr+m5", "Merci beaucoup Marie."),
    Sentence("fr", "fr-fr", "Allume la lumière de la cuisine."),
    Sentence("fr", "fr-fr+m3", "Éteins la radio dans le salon."),
    Sentence("fr", "fr-fr+f1", "Ouvre la porte du jardin."),
    Sentence("fr", "fr-fr+f5", "Ferme la fenêtre de la chambre."),
    Sentence("fr", "fr-be", "La réunion commence à neuf heures."),
    Sentence("fr", "fr-fr+m5", "Le film finit à onze heures ce soir."),
    Sentence("fr", "fr-fr", "Le dîner est prêt dans le jardin."),
    Sentence("fr", "fr-fr+m3", "Le café est prêt dans dix minutes."),
    Sentence("fr", "fr-fr+f1", "Règle le réveil pour six heures."),
    Sentence("fr", "fr-fr+f5", "Quelle heure est-il?"),
    Sentence("fr", "fr-be", "À quelle heure commence le cours?"),
    Sentence("fr", "fr-fr+m5", "Appelle le médecin demain."),
    Sentence("fr", "fr-fr", "J'ai besoin de douze pommes."),
    Sentence("fr", "fr-fr+m3", "Où est mon téléphone?"),
    Sentence("fr", "fr-fr+f1", "Le budget est de quarante mille euros."),
    Sentence("fr", "fr-fr+f5", "Il reste trois minutes pour la réunion."),
    Sentence("fr", "fr-be", "Ma sœur est dans le bureau."),
    Sentence("fr", "fr-fr+m5", "Mon sac est dans la chambre."),
    Sentence("fr", "fr-fr", "Nous avons besoin du budget."),
    Sentence("fr", "fr-fr+m3", "Arrête la musique s'il vous plaît."),
    Sentence("fr", "fr-fr+f1", "Nous avons un cours lundi à sept heures."),
    Sentence("fr", "fr-fr+f5", "Peux tu ouvrir la fenêtre?"),
    Sentence("fr", "fr-be", "Le médecin demande cinq minutes."),
    Sentence("fr", "fr-fr+m5", "La chambre est très froide ce soir."),
    Sentence("fr", "fr-fr", "Mets la musique dans le salon."),
)
ENGLISH = tuple(sentence for sentence in SENTENCES if sentence.language == "en")
FRENCH = tuple(sentence for sentence in SENTENCES if sentence.language == "fr")
