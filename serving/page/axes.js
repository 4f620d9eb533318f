// What the charts share: scales, axes, lines, and drawing again when the width changes.

import { fill, h, s } from "./dom.js";
import { normSymbol } from "./units.js";

const NARROWEST = 280;
const NARROW = 420;
const REPORT_WIDTH = 640;

/** A function from [low, high] to [from, to]. */
export function scale(low, high, from, to) {
  const span = high - low || 1;
  return (value) => from + ((value - low) / span) * (to - from);
}

/** Round numbers from low to high, about `count` of them. */
export function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough);
  const found = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step)
    found.push(Number(at.toPrecision(12)));
  return found;
}

/**
 * Grid lines with their values (`rows`: [value, text]), values along eps up to `end`, and what eps is.
 */
export function axes({ norm, end, rows, x, y, width, height, pad }) {
  const unit = norm === "linf" ? 255 : 1;
  const bottom = height - pad.bottom;
  return s(
    "g",
    { class: "axes" },
    rows.map(([value, text]) =>
      s(
        "g",
        {},
        s("line", {
          class: value === 0 ? "zero" : "gridline",
          x1: pad.left,
          x2: width - pad.right,
          y1: y(value),
          y2: y(value),
        }),
        s("text", { x: pad.left - 7, y: y(value) + 4, "text-anchor": "end" }, text),
      ),
    ),
    ticks(0, end * unit, width < NARROW ? 4 : 8).map((value) =>
      s("text", { x: x(value / unit), y: bottom + 17, "text-anchor": "middle" }, String(value)),
    ),
    s(
      "text",
      { x: width - pad.right, y: height - 5, "text-anchor": "end" },
      `size of the change, eps (${normSymbol(norm)}${unit === 255 ? ", in 1/255" : ""})`,
    ),
  );
}

/** The `d` of a path through [x, y] points, as they are seen. */
export function through(points, x, y) {
  return points.map(([at, value], index) => `${index ? "L" : "M"}${x(at).toFixed(1)} ${y(value).toFixed(1)}`).join("");
}

/** A piece of line as the lines of a series look, for a legend. */
export function mark(index, kind) {
  return s(
    "svg",
    { class: `mark series series-${index}`, width: 28, height: 10, "aria-hidden": "true" },
    s("path", { class: kind, d: "M1 5H27" }),
  );
}

/** An element that holds `draw(width)`, as wide as there is room. */
export function responsive(draw) {
  const holder = h("div", { class: "chart" }, draw(REPORT_WIDTH));
  let drawn = REPORT_WIDTH;
  new ResizeObserver(([entry]) => {
    const width = Math.max(NARROWEST, Math.round(entry.contentRect.width));
    if (entry.contentRect.width === 0 || width === drawn) return;
    drawn = width;
    fill(holder, draw(width));
  }).observe(holder);
  return holder;
}
