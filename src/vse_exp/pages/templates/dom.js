"use strict";
// Elements by hand: text goes in as text, so no caption is ever read as markup.
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value !== false && value != null) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child != null && child !== false));
  return made;
}

// A picture, or its name where there is none.
function picture(source, name) {
  const missing = () => element("div", { class: "picture no-picture" }, name);
  if (!source) return missing();
  const image = element("img", { class: "picture", src: source, alt: name, loading: "lazy" });
  image.addEventListener("error", () => image.replaceWith(missing()));
  return image;
}
