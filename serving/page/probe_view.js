// The view in which one picture is classified and probed.

import { attack } from "./attack.js";
import { trainedThreat } from "./app.js";
import { classification } from "./classification.js";
import { controls } from "./controls.js";
import { announce, fill, h } from "./dom.js";
import { failure, keyFor } from "./failures.js";
import { wholeOutcome } from "./outcome.js";
import { progress } from "./progress.js";
import { takeaway } from "./takeaway.js";
import { typedSize } from "./units.js";
import { verdictOf } from "./verdict.js";

const STEPS = [
  ["Classify", "The model names what it sees, and how sure it is."],
  [
    "Probe",
    "An attack on this very model looks for the smallest change that makes it answer something else.",
  ],
  ["Judge", "See the altered picture, what it proves and what it does not, and take the report with you."],
];

/** Fills the view; the controls are handed back, for a link to restore. */
export function probeView(element, app) {
  const result = h("div", { class: "result", "aria-live": "off" });
  const form = controls(app, { onSubmit: run });
  const button = h("button", { type: "submit", class: "primary large" }, "Probe");
  form.element.append(h("div", { class: "row" }, button));
  const probing = h(
    "section",
    { class: "card", "aria-labelledby": "fools" },
    h("div", { class: "card-head" }, h("h2", { id: "fools" }, "How little fools it")),
    h(
      "div",
      { class: "card-body" },
      app.settings.probe
        ? form.element
        : h(
            "p",
            { class: "hint" },
            "This server does not probe. The operator can switch it on: CLEAD_PROBE=1.",
          ),
      result,
    ),
  );
  const steps = h(
    "ol",
    { class: "steps" },
    STEPS.map(([title, text]) => h("li", {}, h("h2", {}, title), h("p", {}, text))),
  );
  let running = null;

  async function run() {
    if (!app.picture || !app.model) return;
    running?.abort();
    const mine = (running = new AbortController());
    const live = progress({ norm: app.parameters.norm, end: expectedEnd(app), onCancel: () => mine.abort() });
    button.disabled = true;
    fill(result, live.element);
    live.element.querySelector("button").focus({ preventScroll: true });
    try {
      const outcome = await attack(app, app.model, { signal: mine.signal, onProgress: live.show });
      show(outcome);
    } catch (error) {
      if (!mine.signal.aborted && (await keyFor(error))) return run();
      if (running === mine) fill(result, mine.signal.aborted ? cancelled() : failure(error, run));
    } finally {
      if (running === mine) button.disabled = false;
    }
  }

  function show(outcome) {
    fill(result, h("div", { class: "outcome" }, wholeOutcome(outcome, takeaway(outcome))));
    const said = verdictOf(outcome);
    announce(`${said.chip}. ${said.headline}`);
    result.querySelector(".headline").focus({ preventScroll: true });
    result.scrollIntoView({
      block: "start",
      behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
    });
  }

  function forget() {
    running?.abort();
    running = null;
    button.disabled = false;
    fill(result);
    probing.hidden = !app.picture;
    steps.hidden = Boolean(app.picture);
  }

  app.on(["picture", "model"], forget);
  fill(element, steps, classification(app), probing);
  forget();
  return form;
}

/** What is said when nobody waits for an attack any more. */
export function cancelled() {
  announce("Cancelled.");
  return h("p", { class: "hint" }, "Cancelled. The server stops an attack that nobody waits for.");
}

/** Where the line of the progress ends, before anything is known. */
export function expectedEnd(app) {
  const { eps, norm } = app.parameters;
  if (eps) return 1.4 * Math.max(...eps.split(",").map(typedSize));
  const trained = app.model && trainedThreat(app.model);
  if (trained && trained.norm === norm) return 1.6 * trained.eps;
  return { linf: 0.05, l2: 2, l1: 50 }[norm] ?? 1;
}
