"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const PAGE = 30;
const byId = (id) => document.getElementById(id);
const views = { annotation: { card: imageCard }, search: { card: captionCard } };
let view = "annotation", order = [], shown = 0;

const pictureOf = (row) =>
  picture(data.pictures.has(row) ? `pictures/${row}.jpg` : null, data.names[row]);
data.pictures = new Set(data.pictures);
data.own = data.names.map(() => []);
data.caption_image.forEach((image, caption) => data.own[image].push(caption));

function rankLabel(rank) {
  const kind = rank === 1 ? "rank first" : rank <= 10 ? "rank near" : "rank";
  return element("span", { class: kind }, `rank ${rank.toLocaleString("en")}`);
}

const score = (value) => element("span", { class: "score" }, value.toFixed(3));

// A button where the page knows why this image and this caption have their score.
function whyButton(image, caption) {
  const reason = data.reasons[`${image},${caption}`];
  return reason && element("button", { type: "button", class: "why", onclick: () => showWhy(pictureOf(image), reason),
    "aria-label": `Why ${data.names[image]} and ${data.captions[caption]}?` }, "why?");
}

function mark(right) {
  const word = element("span", { class: "out-of-sight" }, right ? "right" : "wrong");
  return element("span", { class: "mark" }, right ? "✓" : "", word);
}

function imageCard(row) {
  const { ranks, items, scores } = data.annotation;
  const found = items[row].map((caption, place) => {
    const right = data.caption_image[caption] === row;
    return element("li", { class: right ? "is-right" : "" }, element("span", {}, data.captions[caption]),
      element("span", {}, whyButton(row, caption), score(scores[row][place])), mark(right));
  });
  const own = data.own[row].map((caption) => [data.places[caption], caption]);
  own.sort((a, b) => a[0] - b[0]);
  const places = own.map(([place]) => place.toLocaleString("en")).join(", ");
  const list = own.map(([place, caption]) =>
    element("li", {}, `${place.toLocaleString("en")}: ${data.captions[caption]} `,
      element("span", { class: "number" }, `(${data.own_scores[caption].toFixed(3)})`), whyButton(row, caption)));
  return element("article", { class: "card" }, pictureOf(row), element("div", {},
    element("div", { class: "head" }, element("span", { class: "soft small" }, data.names[row]),
      rankLabel(ranks[row])),
    element("ol", { class: "captions" }, ...found),
    element("details", { class: "own" },
      element("summary", {}, `Its own captions stand at ${places}`), element("ul", {}, ...list))));
}

function captionCard(row) {
  const { ranks, items, scores } = data.search;
  const image = data.caption_image[row];
  const figure = (item, place, value, apart) => element("figure",
    { class: (item === image ? "is-right" : "") + (apart ? " apart" : "") }, pictureOf(item),
    element("figcaption", {}, element("span", {}, `${place} `, mark(item === image)), whyButton(item, row),
      score(value)));
  const found = items[row].map((item, place) => figure(item, place + 1, scores[row][place]));
  if (!items[row].includes(image)) {
    found.push(figure(image, `${ranks[row].toLocaleString("en")}`, data.own_scores[row], true));
  }
  return element("article", { class: "card wide-card" },
    element("div", { class: "head" }, element("span", { class: "sentence" }, data.captions[row]),
      rankLabel(ranks[row])),
    element("div", { class: "pictures" }, ...found));
}

const looked = { annotation: new Set(), search: new Set() };
for (const pair of Object.keys(data.reasons)) {
  const [image, caption] = pair.split(",").map(Number);
  if (data.annotation.items[image].includes(caption)) looked.annotation.add(image);
  if (data.search.items[caption].includes(image)) looked.search.add(caption);
}
const WANTED = {
  all: () => true, first: (rank) => rank === 1, missed: (rank) => rank > 10,
  reasons: (_, row) => looked[view].has(row),
};

function text(row) {
  if (view === "search") return data.captions[row];
  return [data.names[row], ...data.own[row].map((caption) => data.captions[caption])].join("\n");
}

function update() {
  const { ranks } = data[view];
  const wanted = WANTED[byId("filter").value], words = byId("words").value.trim().toLowerCase();
  order = [...ranks.keys()].filter((row) =>
    wanted(ranks[row], row) && (!words || text(row).toLowerCase().includes(words)));
  const sign = { worst: -1, best: 1, given: 0 }[byId("sort").value];
  if (sign) order.sort((a, b) => sign * (ranks[a] - ranks[b]) || a - b);
  for (const name of Object.keys(views)) {
    const chosen = name === view;
    byId(`tab-${name}`).setAttribute("aria-selected", chosen);
    byId(`tab-${name}`).tabIndex = chosen ? 0 : -1;
  }
  byId("panel").setAttribute("aria-labelledby", `tab-${view}`);
  byId("count").textContent = `${order.length.toLocaleString("en")} of ${ranks.length.toLocaleString("en")}`;
  byId("cards").replaceChildren();
  shown = 0;
  more();
  const state = new URLSearchParams({ view, sort: byId("sort").value, filter: byId("filter").value });
  if (words) state.set("words", words);
  history.replaceState(null, "", `#${state}`);
}

function more() {
  const next = order.slice(shown, shown + PAGE);
  byId("cards").append(...next.map((row) => views[view].card(row)));
  shown += next.length;
  byId("more").hidden = shown >= order.length;
  byId("empty").hidden = order.length > 0;
}

function restore() {
  const state = new URLSearchParams(location.hash.slice(1));
  if (state.get("view") in views) view = state.get("view");
  for (const name of ["sort", "filter"]) {
    const select = byId(name), value = state.get(name);
    if ([...select.options].some((option) => option.value === value)) select.value = value;
  }
  byId("words").value = state.get("words") || "";
}

function choose(name) {
  view = name;
  update();
}

for (const name of Object.keys(views)) {
  byId(`tab-${name}`).addEventListener("click", () => choose(name));
  byId(`tab-${name}`).addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    choose(view === "search" ? "annotation" : "search");
    byId(`tab-${view}`).focus();
  });
}
for (const name of ["sort", "filter"]) byId(name).addEventListener("change", update);
byId("words").addEventListener("input", update);
byId("more").addEventListener("click", more);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(event.target.tagName)) {
    event.preventDefault();
    byId("words").focus();
  }
});
new IntersectionObserver((seen) => seen[0].isIntersecting && shown < order.length && more(),
  { rootMargin: "600px" }).observe(byId("more"));
restore();
update();
