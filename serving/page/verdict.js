// A report in sentences: the verdict, what it means, and what it does not prove.

import { hasAim, isTrainedFor, trainedThreat } from "./app.js";
import { aClass, epsMeaning, epsText } from "./units.js";

const CHIPS = { flipped: "Fooled within", held: "Held at", inconclusive: "No conclusion at" };
// One class was to be reached, so nothing is known about the others.
const TARGETED_CHIPS = { ...CHIPS, flipped: "Reached within", held: "Not reached at" };

/**
 * { tone, chip, headline, meaning, proves, provesNot } of an outcome of `attack`; without a conclusion
 * `provesNot` says what to do.
 */
export function verdictOf({ report, model, parameters }) {
  const { norm, eps } = report.threat;
  const { target } = report.goal;
  const chips = target ? TARGETED_CHIPS : CHIPS;
  // Where a search without an aim ends says nothing.
  const aimless = report.verdict === "flipped" && !hasAim(model, parameters);
  return {
    tone: report.verdict,
    chip: aimless
      ? `Fooled at ${epsText(report.minimal_eps.flipped, norm, "up")}`
      : `${chips[report.verdict]} ${epsText(eps, norm)}`,
    headline: headline(report, target),
    meaning: meaning(report, model, target),
    ...limits(report, target),
  };
}

/** The class that the nearest example is taken for; null where nothing flipped. */
function becomes(report) {
  return report.curve.find((point) => point.flipped)?.label ?? null;
}

function headline(report, target) {
  const { norm, eps } = report.threat;
  const { held, flipped } = report.minimal_eps;
  if (flipped === 0) return `It already is ${aClass(becomes(report))}: nothing has to be changed.`;
  const turn =
    flipped === null ? "" : `At ${epsText(flipped, norm, "up")} it becomes ${aClass(becomes(report))}.`;
  if (report.verdict === "inconclusive")
    return `No conclusion about ${epsText(eps, norm)}: ${reason(report)}. ${turn}`.trim();
  if (eps === 0) return "A change of size 0 is none: nothing was tried.";
  const stays = target ? `No way to ${aClass(target)} was found up to` : "Holds up to";
  const claim = held && trusted(report);
  return `${claim ? `${stays} ${epsText(held, norm, "down")}${turn ? "" : ", the largest size tried"}.` : ""} ${turn}`.trim();
}

/** Whether what was attacked in vain may be said to hold. A flip is certain either way. */
function trusted(report) {
  return !report.budget.exhausted && report.evidence.every((check) => check.passed);
}

function reason(report) {
  if (report.budget.exhausted) return "the time was up";
  return report.evidence.some((check) => !check.passed)
    ? "the attack did not pass its own checks"
    : "the attack could not be carried out in full";
}

function meaning(report, model, target) {
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
      `The model was trained to withstand ${epsText(trained.eps, norm)}${isTrainedFor(model, report.threat) && report.verdict === "held" && !target ? ", and within that no attack succeeded here" : ""}.`,
    );
  }
  return sentences.join(" ");
}

function limits(report, target) {
  const size = epsText(report.threat.eps, report.threat.norm);
  const other = "It says nothing about rotation, blur, or another photograph of the same thing.";
  if (report.minimal_eps.flipped === 0)
    return { proves: "The model gives this answer to the picture as it is.", provesNot: other };
  if (report.threat.eps === 0) return { proves: "Nothing: no change was allowed.", provesNot: other };
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
      proves: `${tried}, and the attack's own checks, found no picture within ${size} that ${target ? `is taken for ${aClass(target)}` : "changes the answer"}.`,
      provesNot: `That there is none: a stronger attack may find one. Nor that the answer is ${target ? "safe from becoming a third" : "right"}. ${other}`,
    };
  }
  return {
    proves: `Nothing about ${size}, neither that it holds nor that it does not.`,
    provesNot: report.budget.exhausted
      ? "Allow more time, or ask for fewer steps, and probe again."
      : "The failed checks below say why. More steps or the full evidence may settle it.",
  };
}

/** What two outcomes of the same attack tell about each other, in a sentence or two. */
export function comparison(outcomes) {
  const late = outcomes.some(({ report }) => report.budget.exhausted);
  return `${difference(outcomes)}${late ? " The time was up before every search had ended: allow more of it to compare them." : ""}`;
}

function difference(outcomes) {
  const reports = outcomes.map((outcome) => outcome.report);
  const names = outcomes.map((outcome) => outcome.model.name);
  const { target } = reports[0].goal;
  const { norm } = reports[0].threat;
  const sizes = reports.map((report) => report.minimal_eps.flipped);
  const turns = target ? `takes it for ${aClass(target)}` : "changes its answer";
  const text = (index) => `${names[index]} ${turns} at ${epsText(sizes[index], norm, "up")}`;
  const unknown = reports.map(
    (report, index) => sizes[index] === null && report.verdict === "inconclusive",
  );
  const missing = sizes.map((size) => size === null);
  if (unknown[0] && unknown[1]) return "No conclusion about either of the two.";
  if (missing[0] && missing[1] && !unknown.includes(true)) return "The attack fooled neither of the two.";
  if (missing[0] || missing[1]) {
    const kept = unknown[1] || !missing[0] ? 1 : 0;
    const other = sizes[1 - kept] === null ? `The attack did not fool ${names[1 - kept]}` : text(1 - kept);
    if (unknown[kept]) return `${other}. No conclusion about ${names[kept]}.`;
    const { held } = reports[kept].minimal_eps;
    return `${other}. ${names[kept]} was not fooled${held ? `, up to ${epsText(held, norm, "down")}` : ""}.`;
  }
  const [weak, strong] = sizes[0] <= sizes[1] ? [0, 1] : [1, 0];
  // 0 where the picture already is of the class to be reached.
  const times = sizes[strong] > 0 ? sizes[strong] / sizes[weak] : 1;
  if (times < 1.05)
    return `Both ${target ? `take it for ${aClass(target)}` : "change their answer"} at about ${epsText(sizes[weak], norm, "up")}.`;
  const factor = Number.isFinite(times)
    ? `${times >= 10 ? Math.round(times) : times.toFixed(1)} times as much`
    : "more than that";
  return `${text(weak)}. It takes ${factor} to ${target ? "mislead" : "change that of"} ${names[strong]}: ${epsText(sizes[strong], norm, "up")}.`;
}
