// Accuracy against eps, as the evaluation measured it.

import { axes, mark, responsive, scale, through } from "./axes.js";
import { h, s } from "./dom.js";
import { accuracyText, epsText } from "./units.js";

const HEIGHT = 230;
const PAD = { left: 44, right: 16, top: 18, bottom: 40 };
const NOTHING_LEFT = 0.05;
const ROWS = [0, 0.25, 0.5, 0.75, 1].map((share) => [share, `${100 * share}%`]);

/** The chart of a manifest's `curve`. */
export function accuracyChart({ attack, norm, points }) {
  return h(
    "figure",
    { class: "figure" },
    responsive((width) => draw(norm, points, width)),
    h(
      "figcaption",
      {},
      h(
        "ul",
        { class: "legend" },
        h("li", {}, mark(0, "attack"), `under ${attack.toUpperCase()}, which is weaker than AutoAttack`),
        h("li", {}, mark(0, "noise"), "under random noise of the same size"),
      ),
    ),
  );
}

function draw(norm, points, width) {
  // Behind the first point where nothing is left, there is nothing to see.
  const last = points.findIndex(({ attacked }) => attacked < NOTHING_LEFT);
  const shown = last < 0 ? points : points.slice(0, last + 1);
  const end = shown.at(-1).eps;
  const x = scale(0, end, PAD.left, width - PAD.right);
  const y = scale(0, 1, HEIGHT - PAD.bottom, PAD.top);
  const path = (key) =>
    through(
      shown.map((point) => [point.eps, point[key]]),
      x,
      y,
    );
  return s(
    "svg",
    {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      width,
      height: HEIGHT,
      role: "img",
      "aria-label": `Accuracy by size of the change: ${points.map(({ eps, attacked }) => `${epsText(eps, norm)}: ${accuracyText(attacked)}`).join(", ")}`,
    },
    axes({ norm, end, rows: ROWS, x, y, width, height: HEIGHT, pad: PAD }),
    s(
      "g",
      { class: "series series-0" },
      s("path", { class: "noise", d: path("noise") }),
      s("path", { class: "attack", d: path("attacked") }),
      shown.map(({ eps, attacked }) => s("circle", { cx: x(eps), cy: y(attacked), r: 3.5 })),
    ),
  );
}
