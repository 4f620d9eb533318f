// Elements without markup in strings, so that nothing a server or a file says can become markup.

const FEW_PIXELS = 96;
const SVG = "http://www.w3.org/2000/svg";

/**
 * An HTML element. `on...` properties are listeners, `data` a record of data attributes; null and false are
 * left out.
 */
export function h(tag, properties = {}, ...children) {
  return filled(document.createElement(tag), properties, children);
}

/** An SVG element. */
export function s(tag, properties = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), properties, children);
}

/** Replaces what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren(...present(children));
  return element;
}

/** A disclosure: a summary, and what it opens. */
export function details(summary, properties, ...children) {
  return h("details", properties, h("summary", {}, summary), ...children);
}

/** A table with a caption, headings and rows of cells; the first cell of a row is its heading. */
export function table(caption, headings, rows) {
  return h(
    "div",
    { class: "scroll", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      {},
      h("caption", {}, caption),
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          headings.map((heading) => h("th", { scope: "col" }, heading)),
        ),
      ),
      h(
        "tbody",
        {},
        rows.map((cells) =>
          h(
            "tr",
            {},
            cells.map((cell, index) => (index ? h("td", {}, cell) : h("th", { scope: "row" }, cell))),
          ),
        ),
      ),
    ),
  );
}

/**
 * An image whose pixels are shown as squares if it has few of them, and that is not shown if it is broken.
 */
export function small(image) {
  image.addEventListener("error", () => {
    image.hidden = true;
  });
  image.addEventListener("load", () => image.classList.toggle("pixels", image.naturalWidth <= FEW_PIXELS));
  return image;
}

/** Says something to screen readers, politely. */
export function announce(text) {
  document.getElementById("announce").textContent = text;
}

/** Saves content under a name. */
export function download(name, content, type) {
  const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

function filled(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "value" || name === "checked" || name === "selected") element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...present(children));
  return element;
}

function present(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
