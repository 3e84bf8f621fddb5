"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const canvas = byId("map"), context = canvas.getContext("2d");
const images = data.image_rows.length, withPicture = new Set(data.pictures);
const loaded = new Map();
const captionsOf = data.image_rows.map(() => []);
data.owners.forEach((owner, caption) => captionsOf[owner].push(images + caption));
let view = { x: 0, y: 0, scale: 1 }, found = null, chosen = -1;

const isImage = (point) => point < images;
const ownerOf = (point) => (isImage(point) ? point : data.owners[point - images]);
const textOf = (point) => (isImage(point) ? data.names[point] : data.captions[point - images]);
const color = (id) => getComputedStyle(byId(id)).color; // in light or in dark
const shown = (point) => isImage(point) || byId("captions").checked;

function place(point) {
  const [x, y] = data.places[point], half = Math.min(canvas.clientWidth, canvas.clientHeight) / 2 - 24;
  return [canvas.clientWidth / 2 + (x - view.x) * half * view.scale, canvas.clientHeight / 2 - (y - view.y) * half * view.scale];
}

function pictureOf(point) {
  const row = data.image_rows[point];
  if (!withPicture.has(row)) return null;
  if (!loaded.has(row)) {
    const image = new Image();
    image.addEventListener("load", draw);
    image.src = `pictures/${row}.jpg`;
    loaded.set(row, image);
  }
  const image = loaded.get(row);
  return image.complete && image.naturalWidth ? image : null;
}

// Pictures where there is room for them: one a field, those found first.
function visiblePictures(side) {
  const taken = new Map();
  for (let point = 0; point < images; point++) {
    const [x, y] = place(point);
    if (x < -side || y < -side || x > canvas.clientWidth + side || y > canvas.clientHeight + side) continue;
    const field = `${Math.floor(x / side)},${Math.floor(y / side)}`;
    if (!taken.has(field) || (found && found.has(point))) taken.set(field, point);
  }
  return taken.values();
}

let waiting = false;
function draw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; paint(); });
}

function paint() {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = canvas.clientWidth * ratio;
  canvas.height = canvas.clientHeight * ratio;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  const looks = { image: color("key-image"), caption: color("key-caption"), ink: color("map") };
  for (let point = data.places.length - 1; point >= 0; point--) {
    if (!shown(point)) continue;
    const [x, y] = place(point), small = isImage(point) ? 3 : 2;
    context.globalAlpha = found && !found.has(point) ? 0.08 : 0.6;
    context.fillStyle = isImage(point) ? looks.image : looks.caption;
    context.fillRect(x - small, y - small, 2 * small, 2 * small);
  }
  if (byId("pictures").checked) {
    const side = 34;
    for (const point of visiblePictures(side)) {
      const image = pictureOf(point), [x, y] = place(point);
      context.globalAlpha = found && !found.has(point) ? 0.15 : 1;
      if (image) context.drawImage(image, x - side / 2 + 2, y - side / 2 + 2, side - 4, side - 4);
    }
  }
  context.globalAlpha = 1;
  if (chosen < 0) return;
  const owner = ownerOf(chosen), [x, y] = place(owner);
  context.strokeStyle = looks.ink;
  context.lineWidth = 1.5;
  for (const caption of captionsOf[owner]) {
    context.beginPath();
    context.moveTo(x, y);
    context.lineTo(...place(caption));
    context.stroke();
  }
  const [left, top] = place(chosen);
  context.strokeRect(left - 7, top - 7, 14, 14);
}

function choose(point) {
  if (point === chosen || point < 0) return;
  chosen = point;
  const owner = ownerOf(point), row = data.image_rows[owner];
  byId("chosen").replaceChildren(
    picture(withPicture.has(row) ? `pictures/${row}.jpg` : null, data.names[owner]),
    element("ul", {}, ...captionsOf[owner].map((caption) =>
      element("li", { class: caption === point ? "is-right" : "" }, textOf(caption)))));
  draw();
}

function nearest(event) {
  const box = canvas.getBoundingClientRect(), at = [event.clientX - box.left, event.clientY - box.top];
  let best = -1, least = 20 ** 2;
  for (let point = 0; point < data.places.length; point++) {
    if (!shown(point) || (found && !found.has(point))) continue;
    const [x, y] = place(point), distance = (x - at[0]) ** 2 + (y - at[1]) ** 2;
    if (distance < least) [best, least] = [point, distance];
  }
  return best;
}

function zoom(factor) {
  view.scale = Math.min(200, Math.max(0.5, view.scale * factor));
  draw();
}

function pan(x, y) {
  const half = (Math.min(canvas.clientWidth, canvas.clientHeight) / 2 - 24) * view.scale;
  view.x -= x / half;
  view.y += y / half;
  draw();
}

function next() {
  const among = found ? [...found] : data.image_rows.map((_, point) => point);
  if (!among.length) return;
  choose(among.find((point) => point > chosen) ?? among[0]);
  [view.x, view.y] = data.places[chosen];
  draw();
}

function filter() {
  const words = byId("words").value.trim().toLowerCase();
  found = words ? new Set([...data.places.keys()].filter((point) => textOf(point).toLowerCase().includes(words))) : null;
  byId("count").textContent = found ? `${found.size.toLocaleString("en")} found` : "";
  if (found) for (const point of [...found]) found.add(ownerOf(point));
  draw();
}

let held = null;
canvas.addEventListener("pointerdown", (event) => { held = event; canvas.setPointerCapture(event.pointerId); });
canvas.addEventListener("pointerup", () => { held = null; });
canvas.addEventListener("pointermove", (event) => {
  if (!held) return choose(nearest(event));
  pan(event.clientX - held.clientX, event.clientY - held.clientY);
  held = event;
});
canvas.addEventListener("wheel", (event) => { event.preventDefault(); zoom(Math.exp(-event.deltaY / 400)); }, { passive: false });
const KEYS = {
  ArrowLeft: () => pan(40, 0), ArrowRight: () => pan(-40, 0), ArrowUp: () => pan(0, 40), ArrowDown: () => pan(0, -40),
  "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), n: next,
};
canvas.addEventListener("keydown", (event) => {
  if (!(event.key in KEYS) || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  KEYS[event.key]();
});
byId("closer").addEventListener("click", () => zoom(1.5));
byId("further").addEventListener("click", () => zoom(1 / 1.5));
byId("whole").addEventListener("click", () => { view = { x: 0, y: 0, scale: 1 }; draw(); });
byId("words").addEventListener("input", filter);
byId("words").addEventListener("keydown", (event) => { if (event.key === "Enter") next(); });
for (const id of ["pictures", "captions"]) byId(id).addEventListener("change", draw);
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && event.target.tagName !== "INPUT") { event.preventDefault(); byId("words").focus(); }
});
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
filter();
