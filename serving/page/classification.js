// What the model sees, and how sure it is: answered as soon as there is a picture.

import { classify } from "./api.js";
import { isStandard } from "./app.js";
import { classBars } from "./bars.js";
import { announce, fill, h, small } from "./dom.js";
import { failure, keyFor } from "./failures.js";
import { percent, timeText } from "./units.js";

/** The card of the classification, kept up to date. */
export function classification(app) {
  const body = h("div", { class: "card-body" });
  const choice = h("div", { class: "model-choice" });
  const card = h(
    "section",
    { class: "card", "aria-labelledby": "sees" },
    h("div", { class: "card-head" }, h("h2", { id: "sees" }, "What the model sees"), choice),
    body,
  );
  let running = null;

  async function run() {
    running?.abort();
    const { picture, model } = app;
    card.hidden = !picture;
    if (!picture || !model) return;
    const mine = (running = new AbortController());
    if (!body.childElementCount) fill(body, h("p", { class: "hint" }, "Asking the model…"));
    try {
      const answer = await classify(picture.blob, { model: model.name, input: true, signal: mine.signal });
      fill(body, shown(answer, picture, model, app));
      announce(`${answer.prediction.label}, ${percent(answer.prediction.probability)}`);
    } catch (error) {
      if (mine.signal.aborted) return;
      if (await keyFor(error)) return run();
      fill(body, failure(error, run));
    }
  }

  app.on(["models"], () => fill(choice, modelChoice(app)));
  app.on(["picture", "model", "models"], run);
  document.addEventListener("server-back", () => {
    if (body.querySelector(".notice")) run();
  });
  fill(choice, modelChoice(app));
  run();
  return card;
}

/** A list to choose the model from; plain text where there is only one. */
function modelChoice(app) {
  if (app.models.length < 2) return app.model && h("span", { class: "hint" }, app.model.name);
  const select = h(
    "select",
    { id: "model", onchange: () => app.choose(app.named(select.value)) },
    app.models.map((model) => h("option", { value: model.name, selected: model === app.model }, model.name)),
  );
  app.addEventListener("model", () => {
    select.value = app.model.name;
  });
  return [h("label", { for: "model" }, "Model"), select];
}

function shown({ prediction, input, model: identity, milliseconds }, picture, model, app) {
  const { height, width } = model.manifest.input;
  const engine = model.engine ?? app.engine;
  return [
    h(
      "div",
      { class: "sees" },
      h(
        "figure",
        {},
        small(h("img", { src: picture.url, alt: "The picture as it is", class: "fit" })),
        h("figcaption", {}, "Your picture"),
      ),
      h("span", { class: "arrow", "aria-hidden": "true" }, "→"),
      h(
        "figure",
        {},
        h("img", { src: input, alt: "The picture as the model sees it", class: "pixels" }),
        h("figcaption", {}, `Model input, ${width}\u00a0×\u00a0${height}`),
      ),
      h(
        "div",
        { class: "answer" },
        h("p", { class: "label" }, prediction.label, " ", h("span", {}, percent(prediction.probability))),
        classBars(prediction.top),
      ),
    ),
    isStandard(model) && h("p", { class: "badge warn" }, "Not trained to withstand perturbations"),
    h(
      "p",
      { class: "facts" },
      h("span", {}, `${identity.name} version ${identity.version}`),
      engine && h("span", {}, `${engineText(engine)}`),
      h("span", {}, `${timeText(milliseconds)} there and back`),
    ),
  ];
}

function engineText(engine) {
  const provider = engine.provider.replace(/ExecutionProvider$/, "");
  return engine.engine === "onnxruntime" ? `ONNX Runtime on ${provider}` : `${engine.engine} (${provider})`;
}
