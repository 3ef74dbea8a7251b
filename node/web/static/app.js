// The page: what the server tells in one stream, and what a person does about it.

import { Refusal, get, nodePath, post, segmentsOf, streamed } from "./api.js";
import { Mics } from "./mics.js";
import { Sessions } from "./sessions.js";
import { Transcript, downloads, make } from "./transcript.js";
import { clock, knows, say, translatePage } from "./words.js";

const $ = (id) => document.getElementById(id);
const SOON_MS = 1000;
const AGAIN_MS = 3000;

let view = { broker: { connected: false }, nodes: [] };
let chosen = null; // the node's id
let followed = null; // the session whose lines are shown
let wasReachable = false;
let lastState = null;
let leaving = null; // ends the stream

const transcript = new Transcript($("transcript"), (atEnd) => { $("newest").hidden = atEnd; });
const sessions = new Sessions();
const mics = new Mics(request);

function node() {
  return view.nodes.find((one) => one.node === chosen);
}

async function request(rest, body) {
  $("said").textContent = "";
  try {
    return await post(nodePath(chosen, rest), body);
  } catch (error) {
    $("said").textContent = refusal(error);
    return null;
  }
}

function refusal(error) {
  if (error.code === "no_assignments") return say("names");
  if (error.code === "silent" || error.code === "unreachable") return say(error.code);
  return error.code ? say("nodeSays", { text: error.message }) : error.message;
}

// The stream

const NEWS = {
  segment: onSegment,
  partial: (partial) => { if (partial.session_id === followed) transcript.partial(partial); },
  event: (body) => { if (body.event_type === "segment_withdrawn") transcript.withdraw(body.id); },
};

async function connect() {
  leaving?.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  for await (const [kind, text] of streamed("stream", signal)) {
    try {
      onStream(kind, JSON.parse(text));
    } catch (error) {
      reportError(error); // a fault in one message must not end the stream
    }
  }
  if (signal.aborted) return;
  serverAway(true);
  wasReachable = false; // what came meanwhile is fetched
  setTimeout(enter, SOON_MS);
}

function onStream(kind, body) {
  if (kind === "state") {
    serverAway(false);
    take(body);
  } else if (body.node === chosen) NEWS[kind]?.(body.body);
}

function serverAway(away) {
  document.body.classList.toggle("away", away);
  showTroubles(away);
}

async function enter() {
  try {
    await get("nodes");
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return showLogin();
    serverAway(true);
    setTimeout(enter, AGAIN_MS);
    return;
  }
  $("login").hidden = true;
  $("main").hidden = false;
  $("logout").hidden = localStorage.getItem("login") === null;
  connect();
}

// What is shown

function take(news) {
  view = news;
  if (!view.nodes.some((one) => one.node === chosen)) chosen = firstChoice();
  showNodes();
  showTroubles(false);
  const current = node();
  if (!current) return;
  showSession(current);
  mics.show(current);
  showEvents(current);
  $("about").textContent = say("about", { node: chosen, version: current.info.version, model: current.info.model });
  const reachable = view.broker.connected && current.online;
  if (current.session.session_id !== followed || (reachable && !wasReachable)) follow(current);
  if (reachable && (!wasReachable || current.session.state !== lastState)) sessions.show(chosen);
  lastState = current.session.state;
  wasReachable = reachable;
}

function firstChoice() {
  const kept = localStorage.getItem("node");
  const known = view.nodes.find((one) => one.node === kept);
  return (known || view.nodes.find((one) => one.online) || view.nodes[0])?.node ?? null;
}

function choose(name) {
  chosen = name;
  localStorage.setItem("node", name);
  followed = null;
  wasReachable = false;
  lastState = null;
  $("live-downloads").hidden = true;
  transcript.clear();
  showNothing();
  take(view);
}

function showNodes() {
  const names = view.nodes.map((one) => one.node);
  $("node-choice").hidden = names.length < 2;
  if ([...$("node").options].map((option) => option.value).join() !== names.join()) {
    $("node").replaceChildren(...names.map((name) => make("option", { value: name, textContent: name })));
  }
  if (chosen) $("node").value = chosen;
}

function troubles(away) {
  if (away) return [["server", say("server")]];
  if (!view.broker.connected) return [["broker", say("broker", { text: view.broker.reason })]];
  const current = node();
  if (!current) return [["noNode", say("noNode")]];
  return current.troubles.map(({ code, text }) => [code, say(code, { text, node: chosen })]);
}

function showTroubles(away) {
  const list = troubles(away);
  const box = $("troubles");
  box.hidden = list.length === 0;
  if (box.dataset.list === JSON.stringify(list)) return; // said once, not with each change
  box.dataset.list = JSON.stringify(list);
  box.replaceChildren(...list.map(([code, text]) => make("li", { className: code, textContent: text })));
}

function showSession({ session, online }) {
  const state = session.state || "unknown";
  const parts = [say(state), session.title || ""];
  if (session.segments_total && state !== "idle") parts.push(say("segments", { count: session.segments_total }));
  if (session.backlog_s >= 1) parts.push(say("backlog", { seconds: Math.round(session.backlog_s) }));
  const older = (session.finishing || []).filter((id) => id !== session.session_id).length;
  if (older) parts.push(say("finishing", { count: older }));
  const text = parts.filter(Boolean).join(" · ");
  if ($("state").textContent !== text) $("state").textContent = text;
  $("state").className = state === "recording" && online ? "recording" : "";
  const recording = state === "recording";
  $("start").hidden = $("title-field").hidden = recording;
  $("stop").hidden = !recording;
  const reachable = online && view.broker.connected;
  $("start").disabled = !reachable || state === "starting";
  $("stop").disabled = !reachable;
}

function showEvents({ events }) {
  const known = events.filter((one) => one.event_type).toReversed();
  $("happened").hidden = known.length === 0;
  $("events").replaceChildren(...known.map((one) => {
    const title = knows(one.event_type) ? `${say(one.event_type)}. ` : "";
    return make("li", {}, make("time", { textContent: one.time ? clock(one.time) : "" }), ` ${title}${one.message || ""}`);
  }));
}

// The transcript

async function follow({ session }) {
  const id = session.session_id;
  if (!id) { // over: its lines stay until the next one
    transcript.endPartials();
    if (followed && $("live-downloads").hidden) downloads($("live-downloads"), say("download"), chosen, followed);
    return;
  }
  if (id !== followed) transcript.clear();
  followed = id;
  $("live-downloads").hidden = true;
  const of = chosen;
  const before = transcript.ids;
  const there = new Set();
  let total = 0;
  try {
    for await (const page of segmentsOf(of, id)) {
      if (followed !== id || chosen !== of) return;
      transcript.add(page.segments);
      for (const segment of page.segments) there.add(segment.id);
      ({ total } = page);
      showNothing();
    }
    // What was withdrawn while the stream was down. If it changed meanwhile, a page may lack one.
    if (there.size === total) before.filter((one) => !there.has(one)).forEach((one) => transcript.remove(one));
    showNothing();
  } catch (error) {
    if (error.code !== "unknown_session") $("said").textContent = refusal(error);
  }
}

function onSegment(segment) {
  if (segment.session_id !== followed) return;
  const fresh = transcript.add([segment]);
  showNothing();
  for (const one of fresh) $("announce").textContent = `${one.speaker}: ${one.text}`;
}

function showNothing() {
  $("nothing").hidden = transcript.size > 0;
}

// What a person does

function showLogin() {
  $("logout").hidden = true;
  $("main").hidden = true;
  $("login").hidden = false;
  $("password").focus();
}

$("login").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("login-error").textContent = "";
  try {
    await post("login", { password: $("password").value });
    $("password").value = "";
    localStorage.setItem("login", "yes");
    await enter();
  } catch (error) {
    $("login-error").textContent = error.message;
  }
});

$("logout").addEventListener("click", async () => {
  localStorage.removeItem("login");
  await post("logout").catch(() => {}); // the program was restarted: nobody is logged in
  leaving?.abort();
  location.reload();
});

$("session").addEventListener("submit", async (event) => {
  event.preventDefault();
  $("start").disabled = true;
  const title = $("title").value.trim();
  const named = await mics.keepNames(); // if not, it says why
  if (named && await request("start", title ? { title } : {})) $("title").value = "";
  $("start").disabled = false;
});

$("stop").addEventListener("click", async () => {
  $("stop").disabled = true;
  await request("stop");
  $("stop").disabled = false;
});

$("detect").addEventListener("click", () => get(`../detect_mics?node=${encodeURIComponent(chosen)}`)
  .catch((error) => { $("said").textContent = refusal(error); }));
$("node").addEventListener("change", (event) => choose(event.target.value));
$("newest").addEventListener("click", () => transcript.toEnd());

translatePage();
enter();
