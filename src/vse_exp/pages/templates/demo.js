"use strict";
const byId = (id) => document.getElementById(id);
const RESULTS = 12;
let limits = { upload_bytes: Infinity };
let image = null; // { file, source } of an upload, or { row, name } of the gallery
let asked = 0;

async function ask(address, options = {}) {
  const number = ++asked, started = performance.now();
  say("Searching …");
  try {
    const response = await fetch(address, options);
    const answer = await response.json();
    if (number !== asked) return; // a later query has been asked
    if (!response.ok) return say(answer.error, true);
    show(answer, performance.now() - started);
  } catch {
    if (number === asked) say("The demo does not answer: is it still running?", true);
  }
}

function say(text, mistake = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("mistake", mistake);
  if (mistake) byId("results").replaceChildren();
}

function show(answer, total) {
  const parts = Object.entries(answer.milliseconds).map(([name, time]) => `${name} ${time.toFixed(1)} ms`);
  say(`${parts.join(" · ")} · answered in ${total.toFixed(0)} ms`);
  const sections = [];
  if (answer.images) sections.push(section("Images", element("div", { class: "pictures" }, ...answer.images.map(figure))));
  if (answer.captions) sections.push(section("Captions", element("ol", { class: "captions" }, ...answer.captions.map(line))));
  if (image && sections.length > 1) sections.reverse();
  byId("results").replaceChildren(...sections);
}

const section = (title, content) => element("section", {}, element("h2", {}, title), content);
const score = (value) => element("span", { class: "score" }, value.toFixed(3));

function figure(hit, place) {
  const use = () => choose({ row: hit.item, name: hit.name });
  return element("figure", {},
    element("button", { type: "button", title: `${hit.name}: search with this image`, onclick: use },
      picture(`/pictures/${hit.item}.jpg`, hit.name)),
    element("figcaption", {}, element("span", {}, String(place + 1)), score(hit.score)));
}

function line(hit) {
  const use = () => { byId("text").value = hit.name; searchText(); };
  return element("li", {}, element("button", { type: "button", title: "Search with this caption", onclick: use },
    hit.name), score(hit.score));
}

function searchText(remember = true) {
  const text = byId("text").value.trim();
  if (!text) return;
  image = null;
  showImage();
  const query = new URLSearchParams({ q: text });
  if (remember) history.pushState(null, "", `?${query}`);
  query.set("k", RESULTS);
  ask(`/api/search?${query}`);
}

function choose(chosen) {
  if (chosen.file && chosen.file.size > limits.upload_bytes) {
    return say(`This file has ${(chosen.file.size / 1e6).toFixed(1)} MB, and pictures may have ` +
      `${limits.upload_bytes / 1e6} MB: choose a smaller one.`, true);
  }
  if (image && image.file) URL.revokeObjectURL(image.source);
  image = chosen;
  image.source = chosen.file ? URL.createObjectURL(chosen.file) : `/pictures/${chosen.row}.jpg`;
  byId("text").value = byId("minus").value = byId("plus").value = "";
  history.replaceState(null, "", "/");
  showImage();
  searchImage();
}

function showImage() {
  byId("preview").hidden = byId("arithmetic").hidden = !image;
  byId("invite").textContent = image ? image.name : "Drop or paste a picture here, or choose one.";
  byId("preview").replaceChildren(...(image ? [picture(image.source, image.name)] : []));
}

function searchImage() {
  const query = new URLSearchParams({ k: RESULTS });
  for (const name of ["minus", "plus"]) if (byId(name).value.trim()) query.set(name, byId(name).value);
  if (!image.file) return ask(`/api/image/${image.row}?${query}`);
  ask(`/api/picture?${query}`, { method: "POST", body: image.file,
    headers: { "Content-Type": "application/octet-stream" } });
}

function upload(files) {
  if (files && files.length) choose({ file: files[0], name: files[0].name });
}

byId("ask").addEventListener("submit", (event) => { event.preventDefault(); searchText(); });
byId("arithmetic").addEventListener("submit", (event) => { event.preventDefault(); searchImage(); });
byId("choose").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", (event) => { upload(event.target.files); event.target.value = ""; });
document.addEventListener("paste", (event) => upload(event.clipboardData.files));
for (const name of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(name, (event) => {
    event.preventDefault(); // a picture dropped beside the field does not replace the page
    byId("drop").classList.toggle("over", name === "dragover");
    if (name === "drop") upload(event.dataTransfer.files);
  });
}
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target.tagName !== "INPUT") { event.preventDefault(); byId("text").focus(); }
});

function restore() {
  byId("text").value = new URLSearchParams(location.search).get("q") || "";
  if (byId("text").value) searchText(false);
}
window.addEventListener("popstate", restore);
fetch("/api/about").then((response) => response.json()).then((about) => { limits = about; }).catch(() => {});
restore();
