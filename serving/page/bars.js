// Probabilities: bars of the top classes, and before and after on one axis.

import { h } from "./dom.js";
import { percent } from "./units.js";

/** Bars of the likeliest classes, as /classify lists them. */
export function classBars(top, most = 5) {
  return h(
    "ol",
    { class: "bars", "aria-label": "Likeliest classes" },
    top
      .slice(0, most)
      .map((one) =>
        h(
          "li",
          {},
          h("span", { class: "name" }, one.label),
          h("span", { class: "track", "aria-hidden": "true" }, placed("bar", { width: one.probability })),
          h("span", { class: "share" }, percent(one.probability)),
        ),
      ),
  );
}

/** Confidence before and after: one row for each class that matters, on one axis from 0 to 100%. */
export function beforeAfter(before, after, most = 5) {
  const rows = matters(before, after, most);
  return h(
    "div",
    { class: "before-after" },
    h(
      "ul",
      { class: "legend" },
      h("li", {}, h("span", { class: "dot before", "aria-hidden": "true" }), "original"),
      h("li", {}, h("span", { class: "dot after", "aria-hidden": "true" }), "altered"),
    ),
    h(
      "ul",
      { class: "rows" },
      rows.map(({ label, from, to }) =>
        h(
          "li",
          {},
          h("span", { class: "name" }, label),
          h(
            "span",
            { class: "track", "aria-hidden": "true" },
            placed("span-between", { left: Math.min(from, to), width: Math.abs(to - from) }),
            placed("dot before", { left: from }),
            placed("dot after", { left: to }),
          ),
          h("span", { class: "share" }, `${percent(from)} → ${percent(to)}`),
        ),
      ),
      h(
        "li",
        { "aria-hidden": "true" },
        h("span", { class: "scale" }, h("span", {}, "0"), h("span", {}, "50%"), h("span", {}, "100%")),
      ),
    ),
  );
}

/** The rows of `beforeAfter` as cells of a table. */
export function beforeAfterRows(before, after) {
  return matters(before, after, before.length).map(({ label, from, to }) => [
    label,
    percent(from),
    percent(to),
  ]);
}

/** A share of the width as a position: `left` and `width` in [0, 1]. */
export function placed(name, { left, width }, ...children) {
  const element = h("span", { class: name }, ...children);
  if (left !== undefined) element.style.left = `${(100 * left).toFixed(2)}%`;
  if (width !== undefined) element.style.width = `${(100 * width).toFixed(2)}%`;
  return element;
}

function matters(before, after, most) {
  const later = new Map(after.map((one) => [one.index, one.probability]));
  return before
    .map((one) => ({ label: one.label, from: one.probability, to: later.get(one.index) ?? 0 }))
    .sort((one, other) => Math.max(other.from, other.to) - Math.max(one.from, one.to))
    .slice(0, most);
}
