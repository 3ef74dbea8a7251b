// Past sessions: the list, the search, one that is opened, and deleting it after a question.

import { get, nodePath, post, remove, segmentsOf } from "./api.js";
import { Transcript, downloads, make } from "./transcript.js";
import { clock, day, say } from "./words.js";

const $ = (id) => document.getElementById(id);
const AT_ONCE = 20;

export class Sessions {
  #node = null; #shown = 0; #opened = null; #transcript = new Transcript($("opened-transcript"));

  constructor() {
    $("more").addEventListener("click", () => this.#load(this.#shown));
    $("close").addEventListener("click", () => this.#close());
    $("search").addEventListener("submit", (event) => { event.preventDefault(); this.#search(); });
  }

  async show(node) {
    if (node !== this.#node) {
      this.#node = node;
      this.#close();
      $("hits").replaceChildren();
      $("found").textContent = "";
      this.#offerSearch();
    }
    await this.#load(0);
  }

  async #load(offset) {
    const node = this.#node;
    const listed = await get(nodePath(node, `sessions?limit=${AT_ONCE}&offset=${offset}`)).catch(() => null);
    if (listed === null || node !== this.#node) return; // said above already: it is away
    const rows = listed.sessions.map((session) => this.#row(session));
    if (offset === 0) $("sessions").replaceChildren(...rows);
    else $("sessions").append(...rows);
    if (listed.total === 0) $("sessions").replaceChildren(make("li", { textContent: say("noSessions") }));
    this.#shown = offset + rows.length;
    $("more").hidden = this.#shown >= listed.total;
  }

  #row(session) {
    const title = session.title || say("untitled");
    const speakers = [...new Set(Object.values(session.speakers))].join(", ");
    const details = [day(session.started_at), speakers, say("segments", { count: session.segments_total })];
    const what = make("span", { className: "what" }, title, make("small", { textContent: details.filter(Boolean).join(" · ") }));
    const open = make("button", { type: "button", className: "plain", textContent: say("open") });
    const erase = make("button", { type: "button", className: "stop", textContent: say("delete") });
    open.setAttribute("aria-label", `${say("open")}: ${title}, ${details[0]}`);
    erase.setAttribute("aria-label", `${say("delete")}: ${title}, ${details[0]}`);
    open.addEventListener("click", () => this.open(session.session_id, title));
    erase.addEventListener("click", () => this.#delete(session.session_id, title));
    return make("li", {}, what, open, erase);
  }

  async open(session, title, start = null) {
    this.#opened = session;
    this.#transcript.clear();
    $("opened").hidden = false;
    $("opened-title").textContent = title;
    downloads($("opened-downloads"), say("download"), this.#node, session);
    this.#offerMeeting(session);
    $("opened-title").focus();
    try {
      for await (const page of segmentsOf(this.#node, session)) {
        if (this.#opened !== session) return;
        this.#transcript.add(page.segments);
      }
    } catch (error) {
      $("found").textContent = say("nodeSays", { text: error.message });
    }
    if (start) this.#transcript.show(start);
    else $("opened-transcript").scrollTop = 0;
  }

  /** Links to the transcript of all nodes, if others have recorded the same meeting. */
  async #offerMeeting(session) {
    const box = $("opened-meeting");
    box.hidden = true;
    const found = await get(nodePath(this.#node, `sessions/${session}/meeting`)).catch(() => null); // an older node
    if (found === null || this.#opened !== session || found.nodes.length < 2) return;
    downloads(box, say("together", { nodes: found.nodes.join(", ") }), this.#node, session, "meeting");
    box.append(make("small", { textContent: found.remarks.join(" · ") }));
  }

  #close() {
    this.#opened = null;
    $("opened").hidden = true;
    this.#transcript.clear();
  }

  async #delete(session, title) {
    $("ask-text").textContent = say("askDelete", { title });
    const dialog = $("ask");
    dialog.returnValue = "no";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (dialog.returnValue !== "yes") return;
    try {
      await remove(nodePath(this.#node, `sessions/${session}`));
      $("found").textContent = say("deleted");
      if (this.#opened === session) this.#close();
    } catch (error) {
      $("found").textContent = say("nodeSays", { text: error.message });
    }
    await this.#load(0);
  }

  /** Shows the field only where the node can search. */
  async #offerSearch() {
    const node = this.#node;
    $("search").hidden = true;
    const known = await post(nodePath(node, "search"), { query: "scribe", limit: 1 }).then(() => true, () => false);
    if (node === this.#node) $("search").hidden = !known;
  }

  async #search() {
    const query = $("query").value.trim();
    if (!query) return;
    try {
      const data = await post(nodePath(this.#node, "search"), { query, limit: 50 });
      const hits = data.matches;
      $("found").textContent = hits.length ? say("hits", { count: data.total }) : say("noHits");
      $("hits").replaceChildren(...hits.map((hit) => this.#hit(hit)));
    } catch (error) {
      $("found").textContent = say("nodeSays", { text: error.message });
    }
  }

  #hit(hit) {
    const title = hit.title || say("untitled");
    const said = `${day(hit.started_at)}, ${clock(hit.start)} · ${hit.speaker}: ${hit.text}`;
    const button = make("button", { type: "button", className: "plain", textContent: said });
    button.addEventListener("click", () => this.open(hit.session_id, title, hit.start));
    return make("li", {}, button);
  }
}
