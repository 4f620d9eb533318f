// What the charts share: scales, ticks, and drawing again when the width changes.

import { fill, h } from "./dom.js";

const NARROWEST = 280;
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
