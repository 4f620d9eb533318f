// The settings of the attack, limited to what this server allows.

import { trainedThreat } from "./app.js";
import { patience } from "./attack.js";
import { details, fill, h } from "./dom.js";
import { choiceOf, field, sizes, wholeNumber } from "./fields.js";
import { normLong } from "./units.js";

const LOSSES = {
  auto: "several in turn (auto)",
  "cross-entropy": "cross-entropy",
  margin: "margin",
  dlr: "difference of logits ratio (dlr)",
};
const EVIDENCE = { quick: "quick", full: "full: larger budget, more queries" };

/** { element, write }: the form; it tells the app about every change. */
export function controls(app, { onSubmit }) {
  const { settings } = app;
  const time = { ...settings.deadline_ms, default: patience(settings.deadline_ms) };
  const cap = () => settings.max_eps[norm.value];
  const norm = choiceOf(
    "norm",
    settings.norms.map((name) => [name, normLong(name)]),
  );
  const eps = sizes("eps", () => ({ most: cap(), values: settings.max_eps_values }), {
    required: true,
    placeholder: "2/255, 4/255, 8/255",
  });
  const maxEps = sizes("max_eps", () => ({ most: cap() }), { placeholder: "chosen by the server" });
  const sigma = sizes("sigma", () => ({ most: settings.sigma.max, least: settings.sigma.min }), {
    placeholder: String(settings.sigma.default),
  });
  const target = h("select", { id: "p-target", name: "target" });
  const certify = h("input", { type: "checkbox", id: "p-certify", name: "certify" });
  const samples = wholeNumber("certify_samples", settings.certify_samples);
  const plain = [
    ["Steps of each attack", wholeNumber("steps", settings.steps), upTo(settings.steps)],
    ["Restarts", wholeNumber("restarts", settings.restarts), upTo(settings.restarts)],
    ["Time limit, in ms", wholeNumber("deadline_ms", time), upTo(time)],
    [
      "Seed",
      wholeNumber("seed", { min: 0, default: 0, max: Number.MAX_SAFE_INTEGER }),
      "the same seed gives the same report",
    ],
    ["What the attack climbs", choiceOf("loss", optional(settings.losses, LOSSES))],
    ["Checks of the attack", choiceOf("evidence", optional(settings.evidence, EVIDENCE))],
  ];
  const question = ["search", "sizes"].map((value) =>
    h("input", {
      type: "radio",
      name: "question",
      value,
      id: `question-${value}`,
      checked: value === "search",
    }),
  );
  const epsField = field(
    "Sizes to test",
    eps,
    `as 8/255 or 0.031, at most ${settings.max_eps_values} of them`,
  );
  const endField = field("Search up to", maxEps, "as 64/255 or 0.25");
  const certificate = h(
    "div",
    { class: "pair" },
    field("Noise (sigma)", sigma),
    field("Samples", samples, upTo(settings.certify_samples)),
  );

  const form = h(
    "form",
    {
      class: "controls",
      novalidate: false,
      onsubmit: (event) => {
        event.preventDefault();
        if (valid()) onSubmit();
      },
      oninput: changed,
    },
    h(
      "fieldset",
      { class: "segmented" },
      h("legend", { class: "unseen" }, "What to ask"),
      question[0],
      h("label", { for: "question-search" }, "Find the smallest change"),
      question[1],
      h("label", { for: "question-sizes" }, "Test sizes I choose"),
    ),
    h("div", { class: "pair" }, field("Size is measured as", norm), epsField),
    details(
      "More settings",
      { class: "more" },
      h(
        "div",
        { class: "grid" },
        plain.map(([label, control, hint]) => field(label, control, hint)),
        field("Class to reach", target),
        endField,
      ),
      h(
        "div",
        { class: "check" },
        certify,
        h("label", { for: "p-certify" }, "Certify a radius for the smoothed classifier as well (l2)"),
      ),
      certificate,
    ),
  );

  function searching() {
    return question[0].checked;
  }

  function show() {
    epsField.hidden = searching();
    endField.hidden = !searching();
    certificate.hidden = !certify.checked;
    eps.disabled = searching();
    maxEps.disabled = !searching();
    sigma.disabled = samples.disabled = !certify.checked;
    for (const input of [eps, maxEps, sigma]) input.check();
  }

  function read() {
    const values = {
      norm: norm.value,
      eps: eps.disabled ? "" : compact(eps.value),
      max_eps: maxEps.disabled ? "" : compact(maxEps.value),
    };
    for (const [, control] of plain) values[control.name] = control.value;
    values.target = target.value;
    if (certify.checked)
      Object.assign(values, { certify: "true", sigma: compact(sigma.value), certify_samples: samples.value });
    return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== ""));
  }

  function changed() {
    show();
    app.set(read());
  }

  function write(values) {
    norm.value = settings.norms.includes(values.norm)
      ? values.norm
      : ((app.model && trainedThreat(app.model)?.norm) ?? settings.norms[0]);
    question[values.eps ? 1 : 0].checked = true;
    for (const control of [eps, maxEps, sigma, samples, ...plain.map(([, one]) => one)]) {
      control.value = values[control.name] ?? "";
      // A link may name what is no choice.
      if (control.selectedIndex < 0) control.value = "";
    }
    certify.checked = values.certify === "true";
    fillTargets(values.target);
    if (
      ["steps", "restarts", "deadline_ms", "seed", "loss", "evidence", "target", "certify", "max_eps"].some(
        (name) => values[name],
      )
    )
      form.querySelector(".more").open = true;
    changed();
  }

  function fillTargets(chosen = target.value) {
    const classes = app.model?.manifest.classes ?? [];
    fill(
      target,
      h("option", { value: "" }, "any other"),
      h("option", { value: "every" }, "every other, one by one"),
      classes.map((name) => h("option", { value: name }, name)),
    );
    target.value = chosen;
    if (target.selectedIndex < 0) target.value = "";
  }

  function valid() {
    show();
    const bad = form.querySelector(":invalid:not(fieldset)");
    if (bad) form.querySelector(".more").open ||= form.querySelector(".more").contains(bad);
    return form.reportValidity();
  }

  app.on(["model", "models"], () => {
    fillTargets();
    changed();
  });
  write(app.parameters);
  return { element: form, write };
}

function upTo({ default: usual, max }) {
  return `${usual.toLocaleString("en")} unless given, at most ${max.toLocaleString("en")}`;
}

function optional(names, texts) {
  return names.map((name, index) => [index ? name : "", texts[name] ?? name]);
}

function compact(text) {
  return text.replaceAll(/\s/g, "");
}
