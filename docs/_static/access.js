// What the theme leaves out for readers who hear a page or go through it by keyboard.
const each = (selector, change) => document.querySelectorAll(selector).forEach(change);
const label = (text) => (one) => one.setAttribute("aria-label", text);

each("p[role=heading]:not([aria-level])", (one) => one.setAttribute("aria-level", "2"));
each("aside.sidebar-drawer", label("All pages"));
each("aside.toc-drawer", label("This page"));

// what scrolls takes the focus, so that the arrows move it
function focusable() {
  each(".highlight pre, .table-wrapper, pre", (one) => {
    if (one.scrollWidth > one.clientWidth) one.tabIndex = 0;
  });
}
focusable();
addEventListener("resize", focusable);

// the page of searches has no heading of its own
if (!document.querySelector("h1")) {
  const title = document.createElement("h1");
  title.textContent = document.title.split(" - ")[0];
  document.querySelector("article").prepend(title);
}
