// A report in sentences: the verdict, what it means, and what it does not prove.

import { hasAim, isTrainedFor, trainedThreat } from "./app.js";
import { aClass, epsMeaning, epsText } from "./units.js";

const CHIPS = { flipped: "Fooled within", held: "Held at", inconclusive: "No conclusion at" };

/**
 * { tone, chip, headline, meaning, proves, provesNot } of an outcome of `attack`; without a conclusion
 * `provesNot`
 * says what to do.
 */
export function verdictOf({ report, model, parameters }) {
  const { norm, eps } = report.threat;
  // Where a search without an aim ends says nothing.
  const aimless = report.verdict === "flipped" && !hasAim(model, parameters);
  return {
    tone: report.verdict,
    chip: aimless
      ? `Fooled at ${epsText(report.minimal_eps.flipped, norm, "up")}`
      : `${CHIPS[report.verdict]} ${epsText(eps, norm)}`,
    headline: headline(report),
    meaning: meaning(report, model),
    ...limits(report),
  };
}

/** The class that the nearest example is taken for; null where nothing flipped. */
function becomes(report) {
  return report.curve.find((point) => point.flipped)?.label ?? null;
}

function headline(report) {
  const { norm, eps } = report.threat;
  const { held, flipped } = report.minimal_eps;
  if (flipped === 0) return `It already is ${aClass(becomes(report))}: nothing has to be changed.`;
  const turn =
    flipped === null ? "" : `At ${epsText(flipped, norm, "up")} it becomes ${aClass(becomes(report))}.`;
  if (report.verdict === "inconclusive")
    return `No conclusion about ${epsText(eps, norm)}: ${reason(report)}. ${turn}`.trim();
  return `${held ? `Holds up to ${epsText(held, norm, "down")}${turn ? "" : ", the largest size tried"}.` : ""} ${turn}`.trim();
}

function reason(report) {
  if (report.budget.exhausted) return "the time was up";
  return report.evidence.some((check) => !check.passed)
    ? "the attack did not pass its own checks"
    : "the attack could not be carried out in full";
}

function meaning(report, model) {
  const { norm } = report.threat;
  const { flipped } = report.minimal_eps;
  const sentences = [];
  if (flipped) sentences.push(`At that size ${epsMeaning(flipped, norm, report.space)}.`);
  if (flipped && report.budget.exhausted)
    sentences.push(
      "The time was up before the search had ended: a smaller change may well do. Allow more time to know.",
    );
  const trained = trainedThreat(model);
  if (!trained) sentences.push("This model was not trained to withstand perturbations.");
  else if (trained.norm === norm) {
    sentences.push(
      `The model was trained to withstand ${epsText(trained.eps, norm)}${isTrainedFor(model, report.threat) && report.verdict === "held" ? ", and within that no attack succeeded here" : ""}.`,
    );
  }
  return sentences.join(" ");
}

function limits(report) {
  const size = epsText(report.threat.eps, report.threat.norm);
  const other = "It says nothing about rotation, blur, or another photograph of the same thing.";
  const tried = `${report.budget.restarts} × ${report.budget.steps} attack steps`;
  if (report.verdict === "flipped") {
    return {
      proves:
        "The altered picture exists, and the served model itself gave it another answer: this is proof.",
      provesNot: `An even smaller change may do as well: the attack gives an upper bound. ${other}`,
    };
  }
  if (report.verdict === "held") {
    return {
      proves: `${tried}, and the attack's own checks, found no picture within ${size} that changes the answer.`,
      provesNot: `That there is none: a stronger attack may find one. Nor that the answer is right. ${other}`,
    };
  }
  return {
    proves: `Nothing about ${size}, neither that it holds nor that it does not.`,
    provesNot: report.budget.exhausted
      ? "Allow more time, or ask for fewer steps, and probe again."
      : "The failed checks below say why. More steps or the full evidence may settle it.",
  };
}

/** One sentence about two reports of the same attack. `models` in the same order. */
export function comparison(reports, models) {
  const norm = reports[0].threat.norm;
  const sizes = reports.map((report) => report.minimal_eps.flipped);
  const text = (index) => `${models[index].name} changes its answer at ${epsText(sizes[index], norm, "up")}`;
  const missing = sizes.map((size) => size === null);
  if (missing[0] && missing[1]) return "The attack fooled neither of the two.";
  if (missing[0] || missing[1]) {
    const kept = missing[0] ? 0 : 1;
    const held = reports[kept].minimal_eps.held;
    return `${text(1 - kept)}. ${models[kept].name} was not fooled${held ? `, up to ${epsText(held, norm, "down")}` : ""}.`;
  }
  const [weak, strong] = sizes[0] <= sizes[1] ? [0, 1] : [1, 0];
  const times = sizes[weak] > 0 ? sizes[strong] / sizes[weak] : Infinity;
  if (times < 1.05) return `Both change their answer at about ${epsText(sizes[weak], norm, "up")}.`;
  const factor = Number.isFinite(times)
    ? `${times >= 10 ? Math.round(times) : times.toFixed(1)} times as much`
    : "more than that";
  return `${text(weak)}. It takes ${factor} to change that of ${models[strong].name}: ${epsText(sizes[strong], norm, "up")}.`;
}
