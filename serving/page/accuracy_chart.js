// Accuracy against eps, from what the evaluation wrote into the manifest.

import { responsive, scale, ticks } from "./axes.js";
import { h, s } from "./dom.js";
import { accuracyText, epsText, normSymbol } from "./units.js";

const HEIGHT = 220;
const PAD = { left: 44, right: 16, top: 18, bottom: 38 };
const NOTHING_LEFT = 0.05;
const CHECK = "monotone_in_eps";

/** { norm, points: [[eps, accuracy], ...] } with the clean accuracy first; null where it was not measured. */
export function accuracyCurve(manifest) {
  const clean = manifest.metrics.find((metric) => metric.eps === null);
  const norm = manifest.metrics.find((metric) => metric.norm)?.norm;
  // The evaluation keeps its sweep over eps as the detail of this check: "... by eps 0.016: 51.5%, 0.031:
  // ...".
  const sweep = manifest.checks.find((check) => check.name === CHECK)?.detail ?? "";
  const points = [...sweep.matchAll(/([\d.]+): ([\d.]+)%/g)].map(([, eps, share]) => [
    Number(eps),
    Number(share) / 100,
  ]);
  return clean && norm && points.length ? { norm, points: [[0, clean.accuracy], ...points] } : null;
}

/** The chart of `accuracyCurve`. */
export function accuracyChart({ norm, points }) {
  return h(
    "figure",
    { class: "figure" },
    responsive((width) => draw(norm, points, width)),
    h(
      "figcaption",
      { class: "hint" },
      "Under PGD, by the sweep that the evaluation checks itself with; the first point is without an attack.",
    ),
  );
}

function draw(norm, points, width) {
  const unit = norm === "linf" ? 255 : 1;
  // Behind the first point where nothing is left, there is nothing to see.
  const last = points.findIndex(([, share]) => share < NOTHING_LEFT);
  const shown = last < 0 ? points : points.slice(0, last + 1);
  const end = shown.at(-1)[0];
  const x = scale(0, end, PAD.left, width - PAD.right);
  const y = scale(0, 1, HEIGHT - PAD.bottom, PAD.top);
  return s(
    "svg",
    {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      width,
      height: HEIGHT,
      role: "img",
      "aria-label": `Accuracy by size of the change: ${points.map(([eps, share]) => `${epsText(eps, norm)}: ${accuracyText(share)}`).join(", ")}`,
    },
    s(
      "g",
      { class: "axes" },
      [0, 0.25, 0.5, 0.75, 1].map((share) =>
        s(
          "g",
          {},
          s("line", {
            class: share ? "gridline" : "zero",
            x1: PAD.left,
            x2: width - PAD.right,
            y1: y(share),
            y2: y(share),
          }),
          s("text", { x: PAD.left - 7, y: y(share) + 4, "text-anchor": "end" }, `${100 * share}%`),
        ),
      ),
      ticks(0, end * unit, width < 420 ? 4 : 8).map((value) =>
        s(
          "text",
          { x: x(value / unit), y: HEIGHT - PAD.bottom + 17, "text-anchor": "middle" },
          String(value),
        ),
      ),
      s(
        "text",
        { x: width - PAD.right, y: HEIGHT - 4, "text-anchor": "end" },
        `eps (${normSymbol(norm)}${unit === 255 ? ", in 1/255" : ""})`,
      ),
    ),
    s(
      "g",
      { class: "series series-0" },
      s("path", {
        class: "attack",
        d: shown
          .map(([eps, share], at) => `${at ? "L" : "M"}${x(eps).toFixed(1)} ${y(share).toFixed(1)}`)
          .join(""),
      }),
      shown.map(([eps, share]) => s("circle", { cx: x(eps), cy: y(share), r: 3.5 })),
    ),
  );
}
