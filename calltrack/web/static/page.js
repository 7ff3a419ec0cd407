// What the page does by itself: themes, values that are checked while they are typed, copying, previews, live calls.
// Everything works without it, but for what is live.
"use strict";

const csrf = document.querySelector('meta[name="csrf"]').content;

document.getElementById("theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch (blocked) { /* it holds for this page */ }
  document.dispatchEvent(new Event("theme"));
});

document.addEventListener("click", (event) => {
  for (const open of document.querySelectorAll("details.drop[open]")) if (!open.contains(event.target)) open.open = false;
});
document.addEventListener("focusin", (event) => {
  for (const open of document.querySelectorAll("details.drop[open]")) if (!open.contains(event.target)) open.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const open of document.querySelectorAll("details.drop[open]")) { open.open = false; open.querySelector("summary").focus(); }
});

const current = document.querySelector(".menu [aria-current]");
if (current) current.parentElement.scrollLeft = current.offsetLeft - 40;

// A form that was refused: on to the first field that is wrong.
const wrong = document.querySelector("main [aria-invalid=true]");
if (wrong) wrong.focus();

// A guess at the time zone, where none is given yet.
for (const input of document.querySelectorAll("input[data-zone]")) {
  if (!input.value) try { input.value = Intl.DateTimeFormat().resolvedOptions().timeZone || ""; } catch (unknown) { /* it stays empty */ }
}

// <input data-check="/path" aria-describedby="... ID">: the server's own rule says what is wrong, as it is typed.
for (const input of document.querySelectorAll("[data-check]")) {
  const told = document.getElementById(input.getAttribute("aria-describedby").trim().split(" ").pop());
  let waiting = 0, asked = 0;
  input.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(check, 200); });
  async function check() {
    const mine = ++asked;
    const answer = await fetch(input.dataset.check, {
      method: "POST", headers: { "X-CSRF-Token": csrf }, body: new URLSearchParams({ value: input.value }),
    }).catch(() => null);
    if (mine !== asked || !answer || !answer.ok) return;
    const said = await answer.json();
    told.textContent = said.words;
    told.className = "check" + (said.ok === null ? "" : said.ok ? " good" : " bad");
    input.setAttribute("aria-invalid", String(said.ok === false));
  }
}

// <input data-mask-of="ID">: a number shown by a mask, where X stands for a digit.
for (const shown of document.querySelectorAll("[data-mask-of]")) {
  const input = document.getElementById(shown.dataset.maskOf), plain = shown.textContent;
  const draw = () => {
    const digits = shown.dataset.digits, mask = input.value || "";
    const places = (mask.match(/X/g) || []).length;
    if (!places) { shown.textContent = mask || plain; return; }
    let rest = digits.slice(-places).padStart(places, "0"), text = "";
    for (const char of mask) { if (char === "X") { text += rest[0]; rest = rest.slice(1); } else text += char; }
    shown.textContent = text;
  };
  input.addEventListener("input", draw);
  draw();
}

for (const button of document.querySelectorAll("button[data-copy]")) {
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    const before = button.textContent;
    button.textContent = button.dataset.copied;
    setTimeout(() => { button.textContent = before; }, 2000);
  });
}

for (const form of document.querySelectorAll("form[data-confirm]")) {
  form.addEventListener("submit", (event) => { if (!confirm(form.dataset.confirm)) event.preventDefault(); });
}

// <form data-run="ID">: sent without leaving the page; what comes back is told in the element.
for (const form of document.querySelectorAll("form[data-run]")) {
  const told = document.getElementById(form.dataset.run), button = form.querySelector("button");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    told.className = "check";
    told.textContent = form.dataset.waiting;
    try {
      const answer = await fetch(form.action, { method: "POST", headers: { "X-CSRF-Token": csrf }, body: new URLSearchParams(new FormData(form)) });
      const said = await answer.json();
      told.textContent = said.words;
      told.className = "check " + (said.ok ? "good" : "bad");
    } catch (problem) {
      told.textContent = String(problem);
      told.className = "check bad";
    }
    button.disabled = false;
  });
}

// <tbody data-live="/path">: rows that the server keeps up to date.
for (const body of document.querySelectorAll("[data-live]")) {
  const state = document.getElementById(body.dataset.state), words = body.dataset;
  const stream = new EventSource(body.dataset.live);
  stream.addEventListener("open", () => { state.textContent = words.connected; });
  stream.addEventListener("error", () => { state.textContent = words.lost; });
  stream.addEventListener("calls", (event) => {
    const known = new Set([...body.children].map((row) => row.dataset.call));
    const page = new DOMParser().parseFromString("<table><tbody>" + event.data + "</tbody></table>", "text/html");
    const rows = [...page.querySelectorAll("tr")].map((row) => document.importNode(row, true));
    for (const row of rows) if (row.dataset.call && !known.has(row.dataset.call)) row.classList.add("live-row");
    body.replaceChildren(...rows);
  });
}
