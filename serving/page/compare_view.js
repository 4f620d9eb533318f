// The same picture and the same attack against two models, side by side.

import { attack } from "./attack.js";
import { isStandard, trainedThreat } from "./app.js";
import { announce, details, fill, h } from "./dom.js";
import { failure, keyFor } from "./failures.js";
import { curveTable, marginChart } from "./margin_chart.js";
import { comparisonOfPictures, verdict } from "./outcome.js";
import { cancelled, expectedEnd } from "./probe_view.js";
import { progress } from "./progress.js";
import { rulerEnd } from "./ruler.js";
import { epsText, normSymbol } from "./units.js";
import { comparison } from "./verdict.js";

/** Fills the view. */
export function compareView(element, app) {
  const choice = h("div", { class: "choice" });
  const result = h("div", { class: "result" });
  let running = null;

  function show() {
    if (app.models.length < 2) {
      fill(
        choice,
        h(
          "p",
          {},
          "This server has one model, ",
          h("strong", {}, app.models[0]?.name ?? "none"),
          ", and comparing takes two.",
        ),
        h(
          "p",
          { class: "hint" },
          "Put another bundle into the models folder, best one of the same network trained without perturbations; the server takes it up while it runs.",
        ),
      );
      return;
    }
    app.second ??=
      app.models.find((model) => model !== app.model && isStandard(model)) ??
      app.models.find((model) => model !== app.model);
    if (app.second === app.model) app.second = app.models.find((model) => model !== app.model);
    const button = h(
      "button",
      { type: "button", class: "primary large", disabled: !app.picture || !app.settings.probe, onclick: run },
      "Compare",
    );
    fill(
      choice,
      h(
        "div",
        { class: "pair" },
        modelField("first", "One model", app.model, (model) => app.choose(model)),
        modelField("second", "The other", app.second, (model) => {
          app.second = model;
          app.set(app.parameters);
        }),
      ),
      h(
        "p",
        { class: "hint" },
        `Both get the same picture and the same attack: ${inWords(app)}. `,
        h("a", { href: "#probe" }, "Change it under Probe"),
        ".",
      ),
      h(
        "div",
        { class: "row" },
        button,
        h(
          "p",
          { class: "hint" },
          !app.settings.probe ? "This server does not probe." : app.picture ? "" : "Choose a picture first.",
        ),
      ),
    );
  }

  function modelField(id, label, chosen, choose) {
    const select = h(
      "select",
      { id, onchange: () => choose(app.named(select.value)) },
      app.models.map((model) => h("option", { value: model.name, selected: model === chosen }, model.name)),
    );
    return h("div", { class: "field" }, h("label", { for: id }, label), select, trainedBadge(chosen));
  }

  async function run() {
    const models = [app.model, app.second];
    running?.abort();
    const mine = (running = new AbortController());
    const outcomes = [];
    choice.querySelector(".primary").disabled = true;
    try {
      for (const model of models) {
        const live = progress({
          norm: app.parameters.norm,
          end: expectedEnd(app),
          onCancel: () => mine.abort(),
          title: `Attacking ${model.name} (${outcomes.length + 1} of 2)…`,
        });
        fill(result, live.element);
        outcomes.push(await attack(app, model, { signal: mine.signal, onProgress: live.show }));
      }
      fill(result, sideBySide(outcomes));
      announce(
        comparison(outcomes),
      );
      result.querySelector(".headline").focus({ preventScroll: true });
    } catch (error) {
      if (!mine.signal.aborted && (await keyFor(error))) return run();
      if (running === mine)
        fill(
          result,
          mine.signal.aborted
            ? cancelled()
            : failure(error, run),
        );
    } finally {
      if (running === mine) show();
    }
  }

  function forget() {
    running?.abort();
    running = null;
    fill(result);
    show();
  }

  // Also while it runs: both get the same attack, and what is shown is of the attack that is named.
  app.on(["picture", "model", "models", "parameters"], forget);
  fill(
    element,
    h(
      "section",
      { class: "card", "aria-labelledby": "compare-title" },
      h("div", { class: "card-head" }, h("h2", { id: "compare-title" }, "The same attack on two models")),
      h("div", { class: "card-body" }, choice, result),
    ),
  );
  show();
}

/** What a model was trained for, as a badge. */
export function trainedBadge(model) {
  const trained = trainedThreat(model);
  return trained
    ? h(
        "span",
        { class: "badge" },
        `trained to withstand ${epsText(trained.eps, trained.norm)} (${normSymbol(trained.norm)})`,
      )
    : h("span", { class: "badge warn" }, "not trained to withstand perturbations");
}

function sideBySide(outcomes) {
  const reports = outcomes.map((one) => one.report);
  const end = rulerEnd(reports);
  return [
    h("h2", { class: "headline", tabindex: -1 }, comparison(outcomes)),
    h(
      "p",
      { class: "hint" },
      "For this picture. Every flip is shown by an example that the model itself was asked about, so that its size is an upper bound; where none was found, a stronger attack may still find one.",
    ),
    h(
      "div",
      { class: "two" },
      outcomes.map((outcome) =>
        h(
          "section",
          { class: "side", "aria-label": outcome.model.name },
          h("h3", {}, outcome.model.name),
          trainedBadge(outcome.model),
          verdict(outcome, { end, level: "h4", short: true }),
          comparisonOfPictures(outcome),
        ),
      ),
    ),
    h(
      "div",
      { class: "block" },
      h("h3", {}, "Both on one chart"),
      h(
        "p",
        { class: "hint" },
        "Each margin is in its own model's logits: compare where the lines cross zero, not how high they begin.",
      ),
      marginChart(outcomes),
      details("The same in numbers", {}, outcomes.map(curveTable)),
    ),
  ];
}

function inWords(app) {
  const { norm, eps, max_eps: most, steps, restarts, seed, loss } = app.parameters;
  return [
    eps ? `sizes ${eps}` : `the smallest change${most ? ` up to ${most}` : ""}`,
    normSymbol(norm),
    steps && `${steps} steps`,
    restarts && `${restarts} restarts`,
    loss && `loss ${loss}`,
    `seed ${seed ?? 0}`,
  ]
    .filter(Boolean)
    .join(", ");
}
