// How far a prediction holds, on one line: attacked in vain, undecided, fooled.

import { hasAim, isTrainedFor } from "./app.js";
import { placed } from "./bars.js";
import { h } from "./dom.js";
import { epsText } from "./units.js";

/** One line. `held` and `flipped` as in a report; `marks`: [{ eps, text }]; `end`: where the line ends. */
export function ruler({ held, flipped, norm, end, marks = [] }) {
  const at = (eps) => Math.min(1, eps / end);
  return h(
    "div",
    { class: "ruler", role: "img", "aria-label": words(held, flipped, norm) },
    h(
      "div",
      { class: "line" },
      held > 0 && placed("held", { left: 0, width: at(held) }),
      flipped !== null && at(flipped) < 1 && placed("flipped", { left: at(flipped), width: 1 - at(flipped) }),
      flipped !== null && placed("point", { left: at(flipped) }),
      marks.filter(({ eps }) => eps > 0 && eps <= end).map(({ eps }) => placed("tick", { left: at(eps) })),
    ),
    h(
      "div",
      { class: "under" },
      h("span", {}, "0"),
      marks
        .filter(({ eps }) => eps > 0 && eps <= end)
        .map(({ eps, text }) =>
          placed(`mark${at(eps) > 0.75 ? " late" : at(eps) < 0.25 ? " early" : ""}`, { left: at(eps) }, text),
        ),
    ),
  );
}

/** Where the line of these reports ends, so that all of them fit on it. */
export function rulerEnd(reports) {
  const eps = Math.min(...reports.map((report) => report.threat.eps));
  const flips = reports.map((report) => report.minimal_eps.flipped ?? report.minimal_eps.held ?? 0);
  const far = Math.max(...flips);
  return Math.max(far * 1.4, far > 0 && eps > far * 6 ? far * 3 : eps * 1.4, 1e-6);
}

/** The line of one outcome of `attack`. */
export function outcomeRuler({ report, model, parameters }, end = rulerEnd([report])) {
  const { norm, eps } = report.threat;
  const what = isTrainedFor(model, report.threat)
    ? "trained for"
    : hasAim(model, parameters)
      ? "verdict at"
      : "searched up to";
  const text = `${what} ${epsText(eps, norm)}`;
  return ruler({ ...report.minimal_eps, norm, end, marks: [{ eps, text }] });
}

function words(held, flipped, norm) {
  return [
    held ? `attacked in vain up to ${epsText(held, norm, "down")}` : "nothing was attacked in vain",
    flipped === null ? "not fooled" : `fooled from ${epsText(flipped, norm, "up")}`,
  ].join(", ");
}
