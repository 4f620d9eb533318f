// The card of each model: what it was trained for, how it was measured, and the hashes of its files.

import { address } from "./api.js";
import { isStandard } from "./app.js";
import { accuracyChart } from "./accuracy_chart.js";
import { placed } from "./bars.js";
import { trainedBadge } from "./compare_view.js";
import { details, download, fill, h, table } from "./dom.js";
import { accuracyText, bytesText, epsText, normSymbol } from "./units.js";

const NAMES = {
  clean: "no attack",
  noise: "random noise",
  fgsm: "FGSM",
  autoattack: "AutoAttack",
  "worst-case": "worst case",
};

/** Fills the view, and again when the models change. */
export function modelsView(element, app) {
  const show = () =>
    fill(
      element,
      h("h1", { class: "view-title" }, "Models"),
      h(
        "p",
        { class: "lead" },
        "What this server answers with, how it was trained, and how it was measured. Accuracy is on test images, under attacks of the size named.",
      ),
      h(
        "div",
        { class: "cards" },
        app.models.map((model) => card(model, app)),
      ),
      broken(app),
    );
  app.on(["models", "model"], show);
  show();
}

function card(model, app) {
  const { manifest } = model;
  const { architecture, input, provenance } = manifest;
  const attacked = manifest.metrics.find((one) => one.eps !== null);
  return h(
    "article",
    { class: "card model", id: `model-${model.name}`, "aria-labelledby": `title-${model.name}` },
    h(
      "div",
      { class: "card-head" },
      h(
        "h2",
        { id: `title-${model.name}` },
        model.name,
        h("span", { class: "hint" }, ` version ${model.version}`),
      ),
      h(
        "span",
        { class: "row" },
        app.model === model && h("span", { class: "badge" }, "in use here"),
        trainedBadge(model),
      ),
    ),
    h(
      "div",
      { class: "card-body" },
      isStandard(model) &&
        h("p", {}, "It is here to be compared with: small changes are expected to fool it."),
      h("h3", {}, "Accuracy"),
      h("ul", { class: "rows metrics" }, manifest.metrics.map(metric)),
      h(
        "p",
        { class: "hint" },
        !manifest.metrics.length
          ? "Its manifest holds no figures: it was not measured."
          : `Measured on ${[...new Set(manifest.metrics.map((one) => one.n))].map((n) => n.toLocaleString("en")).join(" and ")} test images of ${provenance.dataset}${attacked ? `, attacks within ${epsText(attacked.eps, attacked.norm)} (${normSymbol(attacked.norm)})` : ""}.`,
        manifest.evaluation_command && " The command below measures it again.",
      ),
      accuracyBySize(manifest.curve),
      h("h3", {}, "What it is"),
      h(
        "dl",
        { class: "facts-list" },
        [
          ["Network", architecture.name],
          ["Trained with", provenance.objective],
          ["Recipe", provenance.recipe.name],
          ["Data", provenance.dataset],
          ["Sees", `${input.width} × ${input.height} pixels, ${input.interpolation}, the centre`],
          ["Classes", classes(manifest.classes)],
          ["Made", provenance.created.slice(0, 10)],
          ["From commit", provenance.commit.slice(0, 12)],
        ]
          .filter(([, value]) => value)
          .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      checks(manifest),
      manifest.evaluation_command &&
        details("Command that measures it again", {}, h("pre", { tabindex: 0 }, manifest.evaluation_command)),
      files(model),
    ),
  );
}

function metric({ name, accuracy, eps }) {
  return h(
    "li",
    {},
    h("span", { class: "name" }, attackName(name)),
    h(
      "span",
      { class: "track", "aria-hidden": "true" },
      placed(`bar${eps === null ? "" : " attacked"}`, { width: accuracy }),
    ),
    h("span", { class: "share" }, accuracyText(accuracy)),
  );
}

function attackName(name) {
  const [, steps, restarts] = /^pgd-(\d+)-(\d+)$/.exec(name) ?? [];
  return steps ? `PGD, ${steps} steps, ${restarts} restarts` : (NAMES[name] ?? name);
}

function accuracyBySize(curve) {
  if (!curve) return null;
  return [
    h("h3", {}, "Accuracy against the size of the change"),
    accuracyChart(curve),
    details(
      "The same in numbers",
      {},
      table(
        "Accuracy on test images by size",
        ["eps", curve.attack.toUpperCase(), "noise"],
        curve.points.map(({ eps, attacked, noise }) => [
          eps === 0 ? "0 (no attack)" : epsText(eps, curve.norm),
          accuracyText(attacked),
          accuracyText(noise),
        ]),
      ),
    ),
  ];
}

function checks(manifest) {
  if (!manifest.checks.length) return null;
  const failed = manifest.checks.filter((check) => check.passed === false).length;
  const missing = manifest.checks.filter((check) => check.passed === null).length;
  const summary = `${manifest.checks.length - failed - missing} of ${manifest.checks.length} checks of the evaluation passed${failed ? `, ${failed} failed` : ""}${missing ? `, ${missing} not measured` : ""}`;
  const sign = { true: "✓", false: "✕", null: "–" };
  return details(
    summary,
    {},
    h(
      "ul",
      { class: "checks" },
      manifest.checks.map((check) =>
        h(
          "li",
          { class: check.passed ? "passed" : check.passed === false ? "failed" : "" },
          h(
            "span",
            { class: "sign" },
            sign[check.passed],
            h(
              "span",
              { class: "unseen" },
              check.passed ? " passed" : check.passed === false ? " failed" : " not measured",
            ),
          ),
          h("span", {}, h("strong", {}, check.name.replaceAll("_", " ")), " ", check.detail),
        ),
      ),
    ),
  );
}

function files(model) {
  const { manifest, sha256 } = model;
  return details(
    "Files and their sha256",
    { class: "files" },
    table(
      `Files of ${model.name} version ${model.version}`,
      ["file", "size", "sha256"],
      [
        ["manifest.json (names the model)", "", h("code", {}, sha256)],
        ...Object.entries(manifest.files).map(([name, file]) => [
          name,
          bytesText(file.bytes),
          h("code", {}, file.sha256),
        ]),
      ],
    ),
    h(
      "p",
      { class: "row" },
      h("a", { href: address(`models/${model.name}/${model.version}`).href }, "Manifest over HTTP"),
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () =>
            download(
              `${model.name}-${model.version}.json`,
              JSON.stringify({ model: model.model, manifest }, null, 2),
              "application/json",
            ),
        },
        "Download manifest",
      ),
    ),
  );
}

function classes(names) {
  return names.length > 12 ? `${names.length}: ${names.slice(0, 10).join(", ")}, …` : names.join(", ");
}

function broken(app) {
  const refused = app.listed.filter((model) => model.error);
  return (
    refused.length > 0 &&
    h(
      "section",
      { class: "notice" },
      h("strong", {}, "Not served:"),
      h(
        "ul",
        {},
        refused.map((model) => h("li", {}, `${model.name} version ${model.version}: ${model.error}`)),
      ),
    )
  );
}
