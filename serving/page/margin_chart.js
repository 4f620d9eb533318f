// The margin against eps: the attack, noise of the same size as the control, the zero line and the crossing.

import { hasAim } from "./app.js";
import { axes, mark, responsive, scale, through, ticks } from "./axes.js";
import { h, s, table } from "./dom.js";
import { epsText, percent } from "./units.js";

const HEIGHT = 280;
const PAD = { left: 44, right: 16, top: 26, bottom: 40 };
let charts = 0;

/** The chart of one or two outcomes of `attack`, with its legend. */
export function marginChart(outcomes) {
  const reports = outcomes.map((outcome) => ({
    ...outcome.report,
    curve: curveOf(outcome),
    aim: hasAim(outcome.model, outcome.parameters),
  }));
  const names = outcomes.map((outcome) => outcome.model.name);
  if (!reports.some((report) => report.curve.some((point) => point.eps > 0 && point.margin !== null))) {
    return h("p", { class: "hint" }, "No margin was measured at any size above 0.");
  }
  return h(
    "figure",
    { class: "figure" },
    responsive((width) => draw(reports, names, width)),
    h("figcaption", {}, legend(reports, names)),
  );
}

/** The same numbers as a table. */
export function curveTable(outcome) {
  const { norm } = outcome.report.threat;
  const yes = (value) => (value === null ? "not known" : value ? "yes" : "no");
  return table(
    `${outcome.model.name}: what was seen within each size`,
    [
      "eps",
      "fooled",
      "fooled, as 8-bit file",
      "answer at the worst point",
      "its probability",
      "margin",
      "margin under noise",
    ],
    curveOf(outcome).map((point) => [
      epsText(point.eps, norm),
      yes(point.flipped),
      yes(point.flipped_8bit),
      point.label ?? "–",
      point.probability === null ? "–" : percent(point.probability),
      number(point.margin),
      number(point.noise_margin),
    ]),
  );
}

/**
 * The curve of a report, from eps 0 on: there the margin follows from the probabilities of the picture
 * itself.
 */
function curveOf({ report, before, parameters }) {
  const [first] = report.curve;
  const margin = startOf(before, parameters.target);
  if (first.eps === 0 || !Number.isFinite(margin)) return report.curve;
  const { label, probability } = report.prediction;
  const start = {
    eps: 0,
    flipped: margin < 0,
    flipped_8bit: margin < 0,
    label,
    probability,
    margin,
    noise_margin: margin,
  };
  return [start, ...report.curve];
}

function startOf(before, target) {
  const goal = before.find((one) => one.label === target);
  const logit = (one) => Math.log(one.probability);
  if (goal) return logit(before.find((one) => one !== goal)) - logit(goal);
  return logit(before[0]) - logit(before[1]);
}

function draw(reports, names, width) {
  const norm = reports[0].threat.norm;
  const end = reach(reports);
  const values = reports
    .flatMap((report) => inside(report, end).flatMap((point) => [point.margin, point.noise_margin]))
    .filter((value) => value !== null);
  const top = Math.max(0.1, ...values) * 1.08;
  const bottom = Math.max(Math.min(-0.18 * top, ...values) * 1.1, -top);
  const x = scale(0, end, PAD.left, width - PAD.right);
  const y = scale(bottom, top, HEIGHT - PAD.bottom, PAD.top);
  const clip = `clip-${++charts}`;
  return s(
    "svg",
    {
      viewBox: `0 0 ${width} ${HEIGHT}`,
      width,
      height: HEIGHT,
      role: "img",
      "aria-label": inWords(reports, names),
    },
    s(
      "clipPath",
      { id: clip },
      s("rect", {
        x: PAD.left,
        y: PAD.top,
        width: width - PAD.left - PAD.right,
        height: HEIGHT - PAD.top - PAD.bottom,
      }),
    ),
    s("rect", {
      class: "below",
      x: PAD.left,
      y: y(0),
      width: width - PAD.left - PAD.right,
      height: y(bottom) - y(0),
    }),
    axes({ norm, end, rows: margins(bottom, top), x, y, width, height: HEIGHT, pad: PAD }),
    s("text", { x: 6, y: 13 }, "margin, in logits"),
    s("text", { class: "note", x: PAD.left + 6, y: y(bottom) - 6 }, "below zero: another answer"),
    threat(nearest(reports), end, x, y(bottom)),
    s(
      "g",
      { "clip-path": `url(#${clip})` },
      reports.map((report, index) => lines(report, index, x, y)),
    ),
    reports.map((report, index) => crossing(report, index, end, x, y(0))),
  );
}

function margins(bottom, top) {
  return ticks(bottom, top, 5).map((value) => [value, String(value)]);
}

function lines(report, index, x, y) {
  const path = (key) => {
    const known = report.curve.filter((point) => point[key] !== null);
    return through(
      known.map((point) => [point.eps, point[key]]),
      x,
      y,
    );
  };
  return s(
    "g",
    { class: `series series-${index}` },
    s("path", { class: "noise", d: path("noise_margin") }),
    s("path", { class: "attack", d: path("margin") }),
    report.curve
      .filter((point) => point.margin !== null)
      .map((point) => s("circle", { cx: x(point.eps), cy: y(point.margin), r: 3.2 })),
  );
}

function crossing(report, index, end, x, zero) {
  const { flipped } = report.minimal_eps;
  if (flipped === null || flipped > end) return null;
  const { norm } = report.threat;
  const at = x(flipped);
  const late = flipped > 0.6 * end;
  return s(
    "g",
    { class: `crossing series-${index}` },
    s("circle", { cx: at, cy: zero, r: 6.5 }),
    s(
      "text",
      { x: at + (late ? -10 : 10), y: zero - 10 - 16 * index, "text-anchor": late ? "end" : "start" },
      epsText(flipped, norm, "up"),
    ),
  );
}

function threat(report, end, x, bottom) {
  const { eps, norm } = report.threat;
  if (eps <= 0 || eps > end) return null;
  const late = eps > 0.6 * end;
  return s(
    "g",
    { class: "threat" },
    s("line", { x1: x(eps), x2: x(eps), y1: PAD.top, y2: bottom }),
    s(
      "text",
      { x: x(eps) + (late ? -6 : 6), y: PAD.top + 10, "text-anchor": late ? "end" : "start" },
      `${report.aim ? "verdict at" : "searched up to"} ${epsText(eps, norm)}`,
    ),
  );
}

/** Where the axis ends: behind the crossings, and behind the eps of the verdict unless that is far away. */
function reach(reports) {
  const flips = reports.map((report) => report.minimal_eps.flipped).filter((size) => size !== null);
  const last = Math.max(...reports.flatMap((report) => report.curve.map((point) => point.eps)));
  if (!flips.length) return 1.1 * last || 1;
  const far = Math.max(...flips);
  const { eps } = nearest(reports).threat;
  return Math.max(far * 1.25, eps < far * 6 ? eps * 1.08 : 0, 1e-6);
}

/** The report whose verdict is about the smallest eps. */
function nearest(reports) {
  return reports.reduce((one, other) => (other.threat.eps < one.threat.eps ? other : one));
}

function inside(report, end) {
  return report.curve.filter((point) => point.eps <= end);
}

function legend(reports, names) {
  return h(
    "ul",
    { class: "legend" },
    reports.flatMap((_, index) => {
      const of = reports.length > 1 ? `${names[index]}: ` : "";
      return [
        h("li", {}, mark(index, "attack"), `${of}worst point the attack found`),
        h("li", {}, mark(index, "noise"), `${of}random noise of the same size`),
      ];
    }),
  );
}

function inWords(reports, names) {
  const { norm } = reports[0].threat;
  return (
    "Margin against the size of the change. " +
    reports
      .map((report, index) => {
        const { flipped } = report.minimal_eps;
        const start = number(report.curve[0]?.margin ?? null);
        return `${names[index]}: from ${start} ${flipped === null ? "and never below zero" : `to zero at ${epsText(flipped, norm, "up")}`}.`;
      })
      .join(" ")
  );
}

function number(value) {
  return value === null
    ? "–"
    : Math.abs(value) < 0.095 && value !== 0
      ? value.toPrecision(2)
      : value.toFixed(2);
}
