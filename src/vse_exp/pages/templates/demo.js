"use strict";
const byId = (id) => document.getElementById(id);
const RESULTS = 12, RECENT = 8;
const OPENING = byId("invite").textContent;
let limits = { upload_bytes: Infinity };
let query = {}; // { q } or { image, minus, plus } as the address has it, or { file, source, minus, plus }
let asked = 0;

// ---- what a query is, and asking for it

const isImage = () => "file" in query || "image" in query;
const gallery = () => (byId("gallery") ? { gallery: byId("gallery").value } : {});

function address(path, parts) {
  const given = Object.entries({ ...parts, ...gallery() }).filter(([, value]) => value !== undefined && value !== "");
  return `${path}?${new URLSearchParams(given)}`;
}

const send = (where, file) => fetch(where, file && { method: "POST", body: file,
  headers: { "Content-Type": "application/octet-stream" } });

async function answered(where, file) {
  let answer;
  try {
    const response = await send(where, file);
    answer = await response.json();
    if (response.ok) return answer;
  } catch {
    throw new Error("The demo does not answer: is it still running?");
  }
  throw new Error(answer.error);
}

async function search(next, remember = true) {
  if (query.source && query.source !== next.source) URL.revokeObjectURL(query.source);
  query = next;
  const number = ++asked, started = performance.now(), { file, source, name, ...parts } = next;
  showQuery();
  if (remember) history.pushState(null, "", file ? "/" : address("/", parts));
  say("Searching …");
  try {
    const answer = await answered(address("/api/search", { ...parts, k: RESULTS }), file);
    if (number !== asked) return; // a later query has been asked
    if (answer.name) { query.name = answer.name; showQuery(); }
    show(answer, performance.now() - started);
    if (!file) keep(next.q || [answer.name, next.minus && `− ${next.minus}`, next.plus && `+ ${next.plus}`]
      .filter(Boolean).join(" "), address("/", parts));
  } catch (error) {
    if (number === asked) say(error.message, true);
  }
}

function restore() {
  const given = new URLSearchParams(location.search);
  const wanted = given.get("gallery"), select = byId("gallery");
  if (select) {
    select.value = [...select.options].some((option) => option.value === wanted) ? wanted : select.options[0].value;
    showCollection();
  }
  const parts = Object.fromEntries(["q", "image", "minus", "plus"].filter((key) => given.get(key)).map((key) => [key, given.get(key)]));
  if (parts.q || parts.image) return search(parts, false);
  query = {};
  asked++;
  showQuery();
  say("");
  byId("results").replaceChildren();
}

// ---- what the page shows

function say(text, mistake = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("mistake", mistake);
  if (mistake) byId("results").replaceChildren();
}

function showQuery() {
  const chosen = isImage(), name = query.name || "a picture";
  byId("text").value = query.q || "";
  for (const field of ["minus", "plus"]) byId(field).value = query[field] || "";
  byId("preview").hidden = byId("arithmetic").hidden = !chosen;
  byId("invite").textContent = chosen ? name : OPENING;
  byId("preview").replaceChildren(...(chosen ? [picture(sourceOf(query.image), name)] : []));
}

const sourceOf = (row) => (row === undefined ? query.source : address(`/pictures/${row}.jpg`, {}));

function showCollection() {
  for (const one of document.querySelectorAll(".collection")) one.hidden = one.dataset.gallery !== byId("gallery").value;
}

function show(answer, total) {
  const parts = Object.entries(answer.milliseconds).map(([name, time]) => `${name} ${time.toFixed(1)} ms`);
  say(`${parts.join(" · ")} · answered in ${total.toFixed(0)} ms`);
  const sections = [];
  if (answer.images) sections.push(section("Images", element("div", { class: "pictures" }, ...answer.images.map(figure))));
  if (answer.captions) sections.push(section("Captions", element("ol", { class: "captions" }, ...answer.captions.map(line))));
  if (isImage() && sections.length > 1) sections.reverse();
  byId("results").replaceChildren(...sections);
}

const section = (title, content) => element("section", {}, element("h2", {}, title), content);
const score = (value) => element("span", { class: "score" }, value.toFixed(3));

function whyButton(label, sentence, row) {
  return element("button", { type: "button", class: "why", "aria-label": `Why ${label}?`,
    onclick: () => why(sentence, row) }, "why?");
}

function figure(hit, place) {
  const use = () => search({ image: String(hit.item), name: hit.name });
  return element("figure", {},
    element("button", { type: "button", class: "hit", title: `${hit.name}: search with this image`, onclick: use },
      picture(sourceOf(hit.item), hit.name)),
    element("figcaption", {}, element("span", {}, String(place + 1)),
      query.q && whyButton(hit.name, query.q, hit.item), score(hit.score)));
}

function line(hit) {
  const plain = isImage() && !query.minus && !query.plus;
  return element("li", {}, element("button", { type: "button", class: "hit", title: "Search with this caption",
    onclick: () => search({ q: hit.name }) }, hit.name),
    plain && whyButton(hit.name, hit.name, query.image), score(hit.score));
}

async function why(sentence, row) {
  const file = row === undefined ? query.file : undefined, before = byId("status").textContent;
  say("Looking inside …");
  try {
    const reason = await answered(address("/api/reasons", { q: sentence, image: row }), file);
    say(before);
    showWhy(picture(sourceOf(row), query.name || sentence), reason);
  } catch (error) {
    say(error.message, true);
  }
}

// ---- what was asked before, and light or dark: kept in this browser alone

function stored(key, fallback) {
  try { return JSON.parse(localStorage.getItem(key)) ?? fallback; } catch { return fallback; }
}
function store(key, value) {
  try { localStorage.setItem(key, JSON.stringify(value)); } catch { /* not allowed here */ }
}

function keep(label, link) {
  store("recent", [[label, link], ...stored("recent", []).filter((one) => one[1] !== link)].slice(0, RECENT));
  showRecent();
}

function showRecent() {
  const kept = stored("recent", []).filter((one) => one[1].startsWith("/?"));
  const follow = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    history.pushState(null, "", event.currentTarget.href);
    restore();
  };
  byId("recent").hidden = !kept.length;
  byId("recent").replaceChildren(...kept.map(([label, link]) => element("a", { href: link, onclick: follow }, label)),
    element("button", { type: "button", onclick: () => { store("recent", []); showRecent(); } }, "Forget these"));
}

function showTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = { auto: "Light or dark", light: "Light", dark: "Dark" }[theme];
}

function nextTheme() {
  const themes = ["auto", "light", "dark"];
  const theme = themes[(themes.indexOf(stored("theme", "auto")) + 1) % themes.length];
  store("theme", theme);
  showTheme(theme);
}

// ---- what people do

function submitted() {
  const text = byId("text").value.trim();
  if (text) search({ q: text });
}

function upload(files) {
  if (!files || !files.length) return;
  const [file] = files;
  if (file.size > limits.upload_bytes) {
    return say(`This file has ${(file.size / 1e6).toFixed(1)} MB, and pictures may have ` +
      `${limits.upload_bytes / 1e6} MB: choose a smaller one.`, true);
  }
  search({ file, name: file.name, source: URL.createObjectURL(file) });
}

function move(step) {
  const hits = [...document.querySelectorAll("#results .hit")];
  const at = hits.indexOf(document.activeElement);
  const next = at < 0 ? 0 : at + step;
  if (next < 0) byId("text").focus();
  else if (next < hits.length) hits[next].focus();
}

const KEYS = {
  "/": () => byId("text").focus(),
  "?": () => byId("keys").showModal(),
  t: nextTheme,
  w: () => document.activeElement.closest("figure, li")?.querySelector(".why")?.click(),
  ArrowDown: () => move(1), ArrowRight: () => move(1), ArrowUp: () => move(-1), ArrowLeft: () => move(-1),
};
document.addEventListener("keydown", (event) => {
  const typing = /INPUT|SELECT/.test(event.target.tagName);
  const leaves = event.key === "ArrowDown" && event.target === byId("text");
  if (event.ctrlKey || event.altKey || event.metaKey || (typing && !leaves)) return;
  if (document.querySelector("dialog[open]") || !(event.key in KEYS)) return;
  event.preventDefault();
  KEYS[event.key]();
});

byId("ask").addEventListener("submit", (event) => { event.preventDefault(); submitted(); });
byId("arithmetic").addEventListener("submit", (event) => {
  event.preventDefault();
  search({ ...query, minus: byId("minus").value.trim(), plus: byId("plus").value.trim() });
});
byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => { upload(event.target.files); event.target.value = ""; });
byId("theme").addEventListener("click", nextTheme);
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("gallery")?.addEventListener("change", () => {
  showCollection();
  if (query.q || query.file) search({ ...query }); // rows of images are those of one gallery
  else { history.pushState(null, "", address("/", {})); restore(); }
});
document.addEventListener("paste", (event) => upload(event.clipboardData.files));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // a picture dropped beside the field does not replace the page
    byId("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") upload(event.dataTransfer.files);
  });
}
window.addEventListener("popstate", restore);
fetch("/api/about").then((response) => response.json()).then((about) => { limits = about; }).catch(() => {});
showTheme(stored("theme", "auto"));
showRecent();
restore();
