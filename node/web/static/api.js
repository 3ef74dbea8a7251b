// Requests to the program behind this page. Every path is relative: it works behind any prefix.

export class Refusal extends Error {
  constructor(status, body) {
    super(body.message || `HTTP ${status}`);
    this.status = status;
    this.code = body.code;
  }
}

export async function get(path) {
  return answer(await fetch(`api/${path}`));
}

export async function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return answer(await fetch(`api/${path}`, { method: "POST", headers, body: JSON.stringify(body) }));
}

export async function remove(path) {
  return answer(await fetch(`api/${path}`, { method: "DELETE" }));
}

async function answer(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refusal(response.status, body);
  return body.data ?? body;
}

export function nodePath(node, rest) {
  return `nodes/${encodeURIComponent(node)}/${rest}`;
}

// The pages of a session's segments: each with `segments`, and how many there are in all (`total`).
export async function* segmentsOf(node, session) {
  let offset = 0;
  while (offset !== null && offset !== undefined) {
    const page = await get(nodePath(node, `sessions/${session}/segments?offset=${offset}`));
    yield page;
    offset = page.next_offset;
  }
}

// Each server-sent event as [kind, text], until the connection ends for whatever reason. EventSource
// would take only text/event-stream, which Home Assistant's ingress compresses and so holds back.
export async function* streamed(path, signal) {
  const headers = { Accept: "application/octet-stream" };
  const response = await fetch(`api/${path}`, { headers, signal }).catch(() => null);
  if (!response?.ok) return;
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(() => ({ done: true }));
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const fields = new Map(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (fields.has("data")) yield [fields.get("event"), fields.get("data")];
    }
  }
}
