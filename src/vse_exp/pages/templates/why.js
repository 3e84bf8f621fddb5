// Which words and which regions count: words shaded, and the picture bright, by what the score loses
// without them.
const shade = (effect, most) => Math.min(1, Math.abs(effect) / (most || 1));
const largest = (effects) => Math.max(...effects.map(Math.abs), 1e-9);

function weighedWords(words) {
  const most = largest(words.map(([, effect]) => effect));
  return element("p", { class: "weighed" }, ...words.map(([word, effect]) => {
    const made = element("span", { class: effect < 0 ? "word against" : "word for" }, word.trim(),
      element("small", { class: "number" }, effect.toFixed(3)));
    made.style.setProperty("--shade", shade(effect, most).toFixed(3));
    return made;
  }));
}

function weighedPicture(shown, regions) {
  const box = element("div", { class: "weighed-picture" }, shown);
  if (!regions) return box;
  const most = largest(regions.flat());
  const grid = element("div", { class: "regions", "aria-hidden": "true" });
  grid.style.gridTemplateColumns = `repeat(${regions[0].length}, 1fr)`;
  for (const effect of regions.flat()) {
    const cell = element("i", { class: effect < 0 ? "against" : "" });
    cell.style.opacity = (0.75 * (effect < 0 ? 0.8 : 1 - shade(effect, most))).toFixed(3); // a veil
    grid.append(cell);
  }
  box.append(grid);
  return box;
}

// `shown`: the picture or its name; `reason`: { score, words, regions }.
function showWhy(shown, reason) {
  const said = reason.regions ? "" : "The regions are not known: the picture, or how its features were made, is not at hand.";
  document.getElementById("why-content").replaceChildren(
    weighedPicture(shown, reason.regions), weighedWords(reason.words),
    element("p", { class: "small" }, `Score ${reason.score.toFixed(3)}. ${said}`));
  const dialog = document.getElementById("why");
  if (!dialog.open) dialog.showModal();
}
