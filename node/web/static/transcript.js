// The lines of one session in the order of speech, each under its speaker's colour.

import { clock } from "./words.js";

const COLOURS = 8;
const NEAR_END = 60;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export class Transcript {
  #box; #list = make("div"); #spoken = make("div"); #lines = []; #known = new Map(); #gone = new Set(); #partials = new Map(); #colours = new Map(); #onMoved;

  constructor(box, onMoved = () => {}) {
    this.#box = box;
    this.#onMoved = onMoved;
    box.replaceChildren(this.#list, this.#spoken);
    box.addEventListener("scroll", () => onMoved(this.atEnd), { passive: true });
  }

  get size() { return this.#lines.length; }

  get ids() { return this.#lines.map((line) => line.id); }

  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.#box;
    return scrollHeight - scrollTop - clientHeight < NEAR_END;
  }

  clear() {
    this.#lines = [];
    for (const kept of [this.#known, this.#gone, this.#partials, this.#colours]) kept.clear();
    this.#list.replaceChildren();
    this.#spoken.replaceChildren();
  }

  toEnd() {
    this.#box.scrollTop = this.#box.scrollHeight;
    this.#onMoved(true);
  }

  /** Adds segments, each once; returns those that are new. */
  add(segments) {
    const follow = this.atEnd;
    const fresh = segments.filter((one) => one.crosstalk_of == null && !this.#known.has(one.id) && !this.#gone.has(one.id));
    for (const segment of fresh) this.#place(segment);
    if (follow && fresh.length) this.toEnd();
    else if (fresh.length) this.#onMoved(this.atEnd);
    return fresh;
  }

  #place(segment) {
    this.#endPartial(segment);
    const element = this.#line(segment);
    const line = { id: segment.id, start: segment.start, element };
    let index = this.#lines.length;
    while (index > 0 && this.#lines[index - 1].start > segment.start) index -= 1;
    this.#list.insertBefore(element, this.#lines[index]?.element ?? null);
    this.#lines.splice(index, 0, line);
    this.#known.set(segment.id, line);
  }

  #line(segment) {
    const who = make("span", { className: `who ${this.colour(segment.speaker)}`, textContent: segment.speaker });
    const text = make("span", { className: "text", textContent: segment.text, lang: segment.language || "" });
    const time = make("time", { dateTime: segment.start, textContent: clock(segment.start) });
    return make("div", { className: "line" }, time, who, text);
  }

  colour(speaker) {
    if (!this.#colours.has(speaker)) this.#colours.set(speaker, this.#colours.size % COLOURS);
    return `s${this.#colours.get(speaker)}`;
  }

  /** Shows what a person is still saying, below all lines. */
  partial(partial) {
    const follow = this.atEnd;
    const old = this.#partials.get(partial.mic);
    const element = this.#line(partial);
    element.classList.add("partial");
    if (old) old.element.replaceWith(element);
    else this.#spoken.append(element);
    this.#partials.set(partial.mic, { start: partial.start, element });
    if (follow) this.toEnd();
  }

  #endPartial(segment) {
    const partial = this.#partials.get(segment.mic);
    if (partial && partial.start <= segment.start) {
      partial.element.remove();
      this.#partials.delete(segment.mic);
    }
  }

  /** Takes a line out: it was another microphone's speech. */
  withdraw(id) {
    this.#gone.add(id);
    this.remove(id);
  }

  remove(id) {
    const line = this.#known.get(id);
    if (!line) return;
    line.element.remove();
    this.#lines.splice(this.#lines.indexOf(line), 1);
    this.#known.delete(id);
  }

  endPartials() {
    for (const { element } of this.#partials.values()) element.remove();
    this.#partials.clear();
  }

  /** Shows the first line at or after a moment. */
  show(start) {
    const line = this.#lines.find((one) => one.start >= start) || this.#lines.at(-1);
    if (!line) return;
    for (const marked of this.#box.querySelectorAll(".marked")) marked.classList.remove("marked");
    line.element.classList.add("marked");
    line.element.scrollIntoView({ block: "center" });
  }
}

export function downloads(box, label, node, session, what = "transcript") {
  const links = ["txt", "json", "srt", "vtt"].map((suffix) =>
    make("a", {
      href: `api/nodes/${encodeURIComponent(node)}/sessions/${session}/${what}.${suffix}`,
      download: `${what}_${session}.${suffix}`, textContent: suffix,
    }));
  box.replaceChildren(make("span", { textContent: label }), ...links);
  box.hidden = false;
}
