// Everything about one report, in the order in which one wants to know it.

import { beforeAfter, beforeAfterRows } from "./bars.js";
import { details, h, table } from "./dom.js";
import { curveTable, marginChart } from "./margin_chart.js";
import { pictures } from "./pictures.js";
import { outcomeRuler } from "./ruler.js";
import { epsText, timeText } from "./units.js";
import { verdictOf } from "./verdict.js";

const MARKS = { flipped: "✕", held: "✓", inconclusive: "?" };

/** The verdict: a sentence and the line, and unless `short` what follows. `end`: where the line ends. */
export function verdict(outcome, { end, level = "h2", short = false } = {}) {
  const said = verdictOf(outcome);
  return h(
    "div",
    { class: `verdict ${said.tone}` },
    h("p", { class: "chip" }, h("span", { "aria-hidden": "true" }, MARKS[said.tone]), " ", said.chip),
    h(level, { class: "headline", tabindex: -1 }, said.headline),
    outcomeRuler(outcome, end),
    !short && said.meaning && h("p", {}, said.meaning),
    !short &&
      h(
        "dl",
        { class: "caveat" },
        h("div", {}, h("dt", {}, "What this shows"), h("dd", {}, said.proves)),
        h(
          "div",
          {},
          h("dt", {}, said.tone === "inconclusive" ? "What to do" : "What it does not show"),
          h("dd", {}, said.provesNot),
        ),
      ),
  );
}

/** Pictures and confidence. */
export function comparisonOfPictures(outcome) {
  const { before, after } = outcome;
  return [
    pictures(outcome),
    after &&
      h(
        "div",
        { class: "block" },
        h("h3", {}, "Confidence, before and after"),
        h(
          "p",
          { class: "hint" },
          "The server was asked again about the altered picture, as an ordinary upload.",
        ),
        beforeAfter(before, after),
      ),
  ];
}

/** The whole report; `actions` stand below the verdict. */
export function wholeOutcome(outcome, actions = null) {
  const { report, before, after } = outcome;
  return [
    verdict(outcome),
    actions,
    comparisonOfPictures(outcome),
    h(
      "div",
      { class: "block" },
      h("h3", {}, "Margin against the size of the change"),
      h(
        "p",
        { class: "hint" },
        "The margin is how far the answer is ahead of the next class. Random noise of the same size is the control: where noise does little and the attack flips the answer, the model fails against an adversary, not against bad luck.",
      ),
      marginChart([outcome]),
      details(
        "The same in numbers",
        {},
        curveTable(outcome),
        after &&
          table(
            "Probability of each class",
            ["class", "original", "altered"],
            beforeAfterRows(before, after),
          ),
      ),
    ),
    report.classes && everyClass(report),
    report.certificate && certificate(report.certificate),
    evidence(report),
    facts(report),
  ];
}

/** The checks of the attack. */
function evidence(report) {
  const passed = report.evidence.filter((check) => check.passed).length;
  const all = report.evidence.length;
  if (!all) return null;
  return h(
    "div",
    { class: "block" },
    h("h3", {}, "Can the attack be trusted?"),
    h(
      "p",
      { class: "hint" },
      "A model can look robust because the attack is weak. Each check would show one way of that.",
    ),
    details(
      checked(report, passed, all),
      { open: passed < all },
      h(
        "ul",
        { class: "checks" },
        report.evidence.map((check) =>
          h(
            "li",
            { class: check.passed ? "passed" : "failed" },
            h(
              "span",
              { class: "sign" },
              check.passed ? "✓" : "✕",
              h("span", { class: "unseen" }, check.passed ? " passed" : " failed"),
            ),
            h("span", {}, h("strong", {}, check.check.replaceAll("_", " ")), " ", check.detail),
          ),
        ),
      ),
    ),
  );
}

function checked(report, passed, all) {
  if (report.budget.exhausted) return `${passed} of ${all} checks passed; the time was up before the others.`;
  if (passed === all) return `The attack passed all ${all} of its own checks.`;
  return `${all - passed} of the attack's ${all} own checks failed.`;
}

function certificate(found) {
  return h(
    "div",
    { class: "block" },
    h(
      "h3",
      {},
      found.label === null
        ? "No certified radius"
        : `Certified radius ${found.radius.toPrecision(3)} (l2), for the smoothed classifier`,
    ),
    h("p", {}, found.meaning),
    h(
      "p",
      { class: "facts" },
      h("span", {}, `answer: ${found.label ?? "none"}`),
      h("span", {}, `sigma ${found.sigma}`),
      h("span", {}, `${found.n.toLocaleString("en")} samples`),
      h("span", {}, `confidence ${1 - found.alpha}`),
    ),
  );
}

function everyClass(report) {
  const { norm } = report.threat;
  return h(
    "div",
    { class: "block" },
    h("h3", {}, "What each other class takes"),
    table(
      "Nearest example found of each class",
      ["class", "fooled at"],
      report.classes.map((one) => [
        one.label,
        one.flipped === null ? "none found" : epsText(one.flipped, norm, "up"),
      ]),
    ),
  );
}

function facts(report) {
  const { budget, threat, minimal_eps_8bit: file } = report;
  return h(
    "p",
    { class: "facts" },
    h("span", {}, `nearest example a PNG can hold: ${epsText(file, threat.norm, "up")}`),
    h("span", {}, `${budget.restarts} × ${budget.steps} steps, loss ${budget.loss}, seed ${budget.seed}`),
    h(
      "span",
      {},
      `${budget.gradient_evaluations.toLocaleString("en")} gradients, ${budget.forward_evaluations.toLocaleString("en")} forward passes`,
    ),
    h("span", {}, timeText(1000 * budget.seconds)),
  );
}
