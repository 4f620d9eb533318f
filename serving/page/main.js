// Starts the page: loads what the server offers, builds the views, and follows the address.

import { App } from "./app.js";
import { compareView } from "./compare_view.js";
import { fill, h } from "./dom.js";
import { failure, keyFor } from "./failures.js";
import { askForKey } from "./key.js";
import { fragmentOf, readFragment, VIEWS } from "./link.js";
import { modelsView } from "./models_view.js";
import { probeView } from "./probe_view.js";
import { stage } from "./stage.js";
import { themeButton } from "./theme.js";

const part = (id) => document.getElementById(id);
const app = new App();
let built = null;
let view = "probe";

themeButton(part("theme"));
// The fragment of the address says what is shown, so this link must not change it.
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  part("main").focus();
});
part("key").addEventListener("click", async () => {
  if (await askForKey("This server answers requests with a key only.")) start();
});
document.addEventListener("server-back", start);
start();

async function start() {
  const asked = readFragment(location.hash);
  if (!built) fill(part("starting"), h("p", { class: "hint" }, "Asking the server what it offers…"));
  try {
    await app.load();
  } catch (error) {
    if (await keyFor(error)) return start();
    fill(part("starting"), failure(error, start));
    return;
  }
  part("key").hidden = !app.settings.asks_for_keys;
  if (!app.models.length) {
    fill(
      part("starting"),
      h(
        "p",
        { class: "notice", role: "alert" },
        "This server has no model to answer with. ",
        h("a", { href: "../readyz" }, "Its status"),
        " says why.",
      ),
    );
    return;
  }
  fill(part("starting"));
  if (!built) build(asked);
}

function build(asked) {
  app.parameters = asked.parameters;
  app.model = app.named(asked.model) ?? app.model;
  app.second = app.named(asked.second);
  const place = stage(part("stage"), app);
  const form = probeView(part("probe-view"), app);
  compareView(part("compare-view"), app);
  modelsView(part("models-view"), app);
  built = { place, form };
  app.on(["picture"], () => {
    part("intro").classList.toggle("unseen", Boolean(app.picture));
    part("work").classList.toggle("begun", Boolean(app.picture));
  });
  app.on(["picture", "model", "parameters"], () => history.replaceState(null, "", fragmentOf(view, app)));
  window.addEventListener("hashchange", follow);
  follow();
}

function follow() {
  const asked = readFragment(location.hash);
  view = asked.view;
  if (location.hash.includes("?")) restore(asked);
  for (const name of VIEWS) {
    const link = document.querySelector(`nav [data-view="${name}"]`);
    if (name === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  part("probe-view").hidden = view !== "probe";
  part("compare-view").hidden = view !== "compare";
  part("models-view").hidden = view !== "models";
  part("work").hidden = view === "models";
  part("intro").hidden = view === "models";
  history.replaceState(null, "", fragmentOf(view, app));
}

function restore({ model, second, example, parameters }) {
  const chosen = app.named(model);
  if (chosen && chosen !== app.model) app.choose(chosen);
  app.second = app.named(second) ?? app.second;
  built.form.write(parameters);
  if (example && example !== app.picture?.example) built.place.takeExample(example);
}
