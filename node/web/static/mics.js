// The microphones: a name, a level and a switch for each. A field that is being edited is left alone.

import { make } from "./transcript.js";
import { say } from "./words.js";

const QUIET_DBFS = -70;

export class Mics {
  #rows = new Map(); #request; #node = null;

  constructor(request) {
    this.#request = request;
  }

  show({ node, mics }) {
    if (node !== this.#node) this.#rows.clear();
    this.#node = node;
    for (const mic of mics) {
      if (!this.#rows.has(mic.mic)) this.#rows.set(mic.mic, this.#row(mic));
      this.#update(this.#rows.get(mic.mic), mic);
    }
    for (const id of this.#rows.keys()) if (!mics.some((mic) => mic.mic === id)) this.#rows.delete(id);
    const list = document.getElementById("mics");
    const wanted = mics.map((mic) => this.#rows.get(mic.mic).element);
    const same = wanted.length === list.children.length && wanted.every((row, index) => row === list.children[index]);
    if (!same) list.replaceChildren(...wanted);
    document.getElementById("no-mics").hidden = mics.length > 0;
  }

  #row(mic) {
    const caption = make("span");
    const input = make("input", { maxLength: 64, autocomplete: "off", spellcheck: false });
    const mute = make("button", { type: "button", className: "plain" });
    const meter = make("meter", { min: QUIET_DBFS, max: 0, low: -50, high: -3, optimum: -20, value: QUIET_DBFS });
    const level = make("span", { className: "level" });
    const row = { caption, input, mute, meter, level, mic, element: null };
    row.element = make("li", {}, make("label", {}, caption, input), mute, meter, level);
    row.element.dataset.mic = mic.mic;
    input.value = mic.speaker || "";
    input.addEventListener("change", () => this.#keep(row));
    input.addEventListener("keydown", (event) => { if (event.key === "Enter") input.blur(); });
    mute.addEventListener("click", () => this.#request(`mics/${row.mic.mic}/enabled`, { enabled: !row.mic.enabled }));
    return row;
  }

  #update(row, mic) {
    const renamed = mic.speaker !== row.mic.speaker;
    row.mic = mic;
    if (renamed) row.sent = undefined; // the node knows better
    if (renamed && document.activeElement !== row.input) row.input.value = mic.speaker || "";
    setText(row.caption, say("mic", mic));
    row.input.setAttribute("aria-label", say("name", mic));
    row.input.placeholder = say("person");
    setText(row.mute, say(mic.enabled ? "mute" : "unmute"));
    row.mute.setAttribute("aria-label", `${row.mute.textContent}: ${mic.name}`);
    const level = mic.level_dbfs;
    row.meter.value = level ?? QUIET_DBFS;
    row.meter.setAttribute("aria-label", say("level", { index: mic.index }));
    row.meter.hidden = !mic.connected;
    const words = mic.connected ? "" : say("away");
    const shown = level == null || !mic.connected ? "–" : `${Math.round(level)} dBFS`;
    setText(row.level, words || (mic.enabled ? shown : say("muted")));
    row.level.classList.toggle("away", !mic.connected);
  }

  /** Sends a name after those sent before; resolves to whether the node has taken it. */
  #keep(row) {
    const speaker = row.input.value.trim();
    const { mic, language } = row.mic;
    const assignment = language ? { mic, speaker, language } : { mic, speaker };
    row.sending = (row.sending ?? Promise.resolve()).then(async () => {
      const taken = await this.#request("assign", { assignments: [assignment] });
      if (taken) row.sent = speaker;
      return Boolean(taken);
    });
    return row.sending;
  }

  /** Sends names that were typed and not taken yet; resolves to whether the node has all of them. */
  async keepNames() {
    const rows = [...this.#rows.values()];
    await Promise.all(rows.map((row) => row.sending));
    const typed = rows.filter((row) => row.input.value.trim() !== (row.sent ?? row.mic.speaker ?? ""));
    const taken = await Promise.all(typed.map((row) => this.#keep(row)));
    return taken.every(Boolean);
  }
}

function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}
