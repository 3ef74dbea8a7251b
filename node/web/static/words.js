// Everything the page says, in English and French, by the browser's language.

const EN = {
  skip: "Skip to the transcript", node: "Node", logout: "Log out", loginTitle: "Password",
  password: "Password of this page", login: "Log in", mics: "Microphones",
  noMics: "No microphone is connected.", detect: "Look again", title: "Title (optional)",
  start: "Start", stop: "Stop", live: "Transcript", nothing: "What is said appears here.",
  newest: "To the newest line", past: "Past sessions", search: "Search what was said",
  find: "Search", more: "Older sessions", close: "Close", happened: "What happened",
  api: "HTTP API", keep: "Keep", delete: "Delete", open: "Open",
  mic: "Microphone {index} ({name})", name: "Name of the person at microphone {index} ({name})", person: "Name", muted: "muted", away: "not connected",
  level: "Level of microphone {index}", mute: "Mute", unmute: "Unmute",
  idle: "Ready", starting: "Starting…", recording: "Recording", stopping: "Writing the transcript…",
  error: "Failed", unknown: "Waiting for the node…", backlog: "{seconds} s still to transcribe",
  finishing: "{count} sessions still being written", segments: "{count} lines",
  noNode: "No node has been seen on the broker yet. Is one running?",
  server: "The program behind this page does not answer. Trying again…",
  broker: "No connection to the broker: {text}", offline: "The node {node} is offline. What you see is what it sent last.",
  unanswered: "The node {node} does not answer, although the broker holds it for online. If it does not come back, see whether its machine is on and the node runs.",
  problem: "No session can start: {text}", message: "{text}", notice: "{text}",
  mic_away: "{text} is not connected.", download: "Download:", together: "One transcript of {nodes}:", untitled: "Session without a title",
  askDelete: "Delete “{title}” with everything said in it? This cannot be undone.",
  deleted: "Deleted.", noHits: "Nothing found.", hits: "{count} found", loading: "Loading…",
  noSessions: "There is no session yet.", about: "{node}: version {version}, model {model}",
  names: "Give at least one microphone a name first.", nodeSays: "The node says: {text}",
  silent: "The node does not answer. Try again.", unreachable: "The node cannot be reached. Nothing was done.",
  mic_lost: "A microphone is gone", mic_back: "A microphone is back", speech_dropped: "Speech was lost",
  overloaded: "The machine is too slow", recovered: "All is well again",
  transcription_failed: "An utterance could not be transcribed", model_unavailable: "There is no model",
  model_ready: "The model is ready", disk_low: "The disk is full", disk_back: "There is room on the disk again",
  command_rejected: "A command was refused", sessions_removed: "Old sessions were removed",
};
const FR = {
  skip: "Aller à la transcription", node: "Nœud", logout: "Se déconnecter", loginTitle: "Mot de passe",
  password: "Mot de passe de cette page", login: "Se connecter", mics: "Micros",
  noMics: "Aucun micro n’est branché.", detect: "Chercher à nouveau", title: "Titre (facultatif)",
  start: "Démarrer", stop: "Arrêter", live: "Transcription", nothing: "Les paroles apparaissent ici.",
  newest: "Aller à la dernière ligne", past: "Sessions passées", search: "Chercher dans ce qui a été dit",
  find: "Chercher", more: "Sessions plus anciennes", close: "Fermer", happened: "Ce qui s’est passé",
  api: "API HTTP", keep: "Garder", delete: "Supprimer", open: "Ouvrir",
  mic: "Micro {index} ({name})", name: "Nom de la personne au micro {index} ({name})", person: "Nom", muted: "coupé", away: "non branché",
  level: "Niveau du micro {index}", mute: "Couper", unmute: "Rétablir",
  idle: "Prêt", starting: "Démarrage…", recording: "Enregistrement", stopping: "Écriture de la transcription…",
  error: "Échec", unknown: "En attente du nœud…", backlog: "encore {seconds} s à transcrire",
  finishing: "{count} sessions en cours d’écriture", segments: "{count} lignes",
  noNode: "Aucun nœud n’a encore été vu sur le courtier MQTT. Y en a-t-il un en marche ?",
  server: "Le programme derrière cette page ne répond pas. Nouvel essai…",
  broker: "Pas de connexion au courtier MQTT : {text}", offline: "Le nœud {node} est hors ligne. Vous voyez ce qu’il a envoyé en dernier.",
  unanswered: "Le nœud {node} ne répond pas, bien que le courtier MQTT le croie en ligne. S’il ne revient pas, vérifiez que sa machine est allumée et que le nœud fonctionne.",
  problem: "Aucune session ne peut démarrer : {text}", message: "{text}", notice: "{text}",
  mic_away: "{text} n’est pas branché.", download: "Télécharger :", together: "Une seule transcription de {nodes} :", untitled: "Session sans titre",
  askDelete: "Supprimer « {title} » avec tout ce qui y a été dit ? C’est définitif.",
  deleted: "Supprimée.", noHits: "Rien trouvé.", hits: "{count} trouvés", loading: "Chargement…",
  noSessions: "Il n’y a pas encore de session.", about: "{node} : version {version}, modèle {model}",
  names: "Donnez d’abord un nom à au moins un micro.", nodeSays: "Le nœud répond : {text}",
  silent: "Le nœud ne répond pas. Réessayez.", unreachable: "Le nœud est injoignable. Rien n’a été fait.",
  mic_lost: "Un micro a disparu", mic_back: "Un micro est revenu", speech_dropped: "Des paroles sont perdues",
  overloaded: "La machine est trop lente", recovered: "Tout va bien à nouveau",
  transcription_failed: "Une phrase n’a pas pu être transcrite", model_unavailable: "Il n’y a pas de modèle",
  model_ready: "Le modèle est prêt", disk_low: "Le disque est plein", disk_back: "Il y a de nouveau de la place",
  command_rejected: "Une commande a été refusée", sessions_removed: "D’anciennes sessions ont été supprimées",
};

export const language = (navigator.languages || [navigator.language])
  .map((tag) => tag.slice(0, 2).toLowerCase()).find((tag) => tag === "fr" || tag === "en") || "en";
const WORDS = language === "fr" ? FR : EN;

export function say(key, values = {}) {
  const text = WORDS[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function knows(key) {
  return Object.hasOwn(WORDS, key);
}

export function translatePage() {
  document.documentElement.lang = language;
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
}

// As people of this region write times, but with 24 hours, as the transcripts' files do.
const REGION = (navigator.languages || []).find((tag) => tag.slice(0, 2).toLowerCase() === language) || language;
const CLOCK = new Intl.DateTimeFormat(REGION, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const DAY = new Intl.DateTimeFormat(REGION, { dateStyle: "medium", timeStyle: "short" });

export function clock(moment) {
  return CLOCK.format(new Date(moment));
}

export function day(moment) {
  return DAY.format(new Date(moment));
}
