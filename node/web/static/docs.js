// Renders the OpenAPI document as a page, with nothing from elsewhere.

import { make } from "./transcript.js";

const MAX_DEPTH = 6;

function resolve(schema, all, depth = 0) {
  if (!schema || depth > MAX_DEPTH) return "…";
  if (schema.$ref) return resolve(all[schema.$ref.split("/").at(-1)], all, depth + 1);
  if (schema.anyOf) return schema.anyOf.map((one) => resolve(one, all, depth + 1)).find((one) => one !== "null");
  if (schema.const !== undefined) return schema.const;
  if (schema.type === "array") return [resolve(schema.items, all, depth + 1)];
  if (schema.properties) {
    return Object.fromEntries(Object.entries(schema.properties).map(([name, one]) => [name, resolve(one, all, depth + 1)]));
  }
  return schema.type || "anything";
}

function json(schema, all) {
  return make("pre", { textContent: JSON.stringify(resolve(schema, all), null, 2) });
}

function operation(path, method, one, all) {
  const parts = [make("h3", {}, make("code", { textContent: `${method.toUpperCase()} ${path}` }))];
  parts.push(make("p", { textContent: one.description || one.summary }));
  for (const parameter of one.parameters || []) {
    const text = ` in the ${parameter.in}${parameter.required ? ", needed" : ""}. ${parameter.description || ""}`;
    parts.push(make("p", {}, make("code", { textContent: parameter.name }), text));
  }
  const body = one.requestBody?.content["application/json"]?.schema;
  if (body) parts.push(make("p", { textContent: "Send:" }), json(body, all));
  for (const [status, answer] of Object.entries(one.responses)) {
    const schema = answer.content?.["application/json"]?.schema;
    parts.push(make("p", {}, make("code", { textContent: status }), ` ${answer.description}`));
    if (schema?.$ref || schema?.properties) parts.push(json(schema, all));
  }
  return make("section", {}, ...parts);
}

const api = await (await fetch("openapi.json")).json();
const groups = new Map();
for (const [path, methods] of Object.entries(api.paths)) {
  for (const [method, one] of Object.entries(methods)) {
    const name = one.tags?.[0] || "other";
    if (!groups.has(name)) groups.set(name, [make("h2", { textContent: name[0].toUpperCase() + name.slice(1) })]);
    groups.get(name).push(operation(path, method, one, api.components?.schemas || {}));
  }
}
document.getElementById("api").replaceChildren(...[...groups.values()].flat());
