// Reads the API's description and shows each operation, with a form that sends it.
"use strict";

const place = document.getElementById("api");

function element(name, fields, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(fields || {})) if (key in made && key !== "list") made[key] = value; else made.setAttribute(key, value);
  made.append(...children);
  return made;
}

function example(schema, all, depth) {
  if (!schema || depth > 5) return null;
  if (schema.$ref) return example(all[schema.$ref.split("/").pop()], all, depth + 1);
  if (schema.default !== undefined && schema.default !== null) return schema.default;
  if (schema.anyOf) return example(schema.anyOf[0], all, depth + 1);
  if (schema.enum) return schema.enum[0];
  if (schema.type === "array") return schema.minItems ? [example(schema.items, all, depth + 1)] : [];
  if (schema.type === "object") {
    const made = {};
    for (const name of schema.required || []) made[name] = example((schema.properties || {})[name], all, depth + 1);
    return made;
  }
  return { string: "", integer: schema.minimum || 0, number: schema.minimum || 0, boolean: false }[schema.type] ?? null;
}

function show(path, method, operation, described) {
  const form = element("form", {});
  const inputs = [];
  for (const one of operation.parameters) {
    const id = operation.operationId + "-" + one.name;
    const hint = [one.in, one.schema.type, (one.schema.enum || (one.schema.items || {}).enum || []).join(" | ")].filter(Boolean).join(", ");
    const input = element("input", { id, required: one.required });
    inputs.push([one, input]);
    form.append(element("div", { className: "field" }, element("label", { htmlFor: id }, one.name + " "), input, element("p", { className: "hint" }, hint)));
  }
  let body = null;
  if (operation.requestBody) {
    const id = operation.operationId + "-body";
    body = element("textarea", { id, rows: 6, spellcheck: false });
    body.value = JSON.stringify(example(operation.requestBody.content["application/json"].schema, described.components.schemas, 0), null, 2);
    form.append(element("div", { className: "field" }, element("label", { htmlFor: id }, place.dataset.body), body));
  }
  const answer = element("pre", { tabIndex: 0, hidden: true });
  form.append(element("button", { className: "quiet" }, place.dataset.send), answer);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    let address = path;
    const query = new URLSearchParams();
    for (const [one, input] of inputs) {
      if (one.in === "path") address = address.replace("{" + one.name + "}", encodeURIComponent(input.value));
      else if (input.value) for (const value of one.schema.type === "array" ? input.value.split(",") : [input.value]) query.append(one.name, value.trim());
    }
    const headers = { Authorization: "Bearer " + document.getElementById("api-key").value };
    if (body) headers["Content-Type"] = "application/json";
    answer.hidden = false;
    answer.textContent = "…";
    try {
      const response = await fetch(address + (query.size ? "?" + query : ""), { method: method.toUpperCase(), headers, body: body ? body.value : undefined });
      const text = await response.text();
      let shown = text;
      try { shown = JSON.stringify(JSON.parse(text), null, 2); } catch (plain) { /* as it came */ }
      answer.textContent = response.status + " " + response.statusText + "\n" + shown;
    } catch (problem) {
      answer.textContent = String(problem);
    }
  });
  return element("details", { className: "card" },
    element("summary", {}, element("code", {}, method.toUpperCase() + " " + path), " " + operation.summary),
    element("p", { className: "hint" }, operation.description), form);
}

fetch("/api/v1/openapi.json").then((answer) => answer.json()).then((described) => {
  for (const tag of described.tags) {
    place.append(element("h2", {}, tag.name), element("p", { className: "hint" }, tag.description));
    for (const [path, methods] of Object.entries(described.paths))
      for (const [method, operation] of Object.entries(methods))
        if (operation.tags.includes(tag.name)) place.append(show(path, method, operation, described));
  }
});
