// One self-contained HTML file with everything about one outcome: no scripts, no outside resources.

import { classBars } from "./bars.js";
import { h } from "./dom.js";
import { wholeOutcome } from "./outcome.js";

const STYLES = ["base.css", "results.css", "charts.css"];
const POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/** The text of the file, made without asking the server. `command`: what asks for the same report. */
export function reportPage(outcome, command) {
  const { model, report, picture, input, before } = outcome;
  const title = `Probe of ${picture.name}`;
  const page = h(
    "html",
    { lang: "en" },
    h(
      "head",
      {},
      h("meta", { charset: "utf-8" }),
      h("meta", { "http-equiv": "Content-Security-Policy", content: POLICY }),
      h("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }),
      h("meta", { name: "color-scheme", content: "light dark" }),
      h("title", {}, title),
      h("style", {}, styles()),
    ),
    h(
      "body",
      { class: "report" },
      h(
        "main",
        {},
        h("h1", {}, title),
        h(
          "p",
          { class: "facts" },
          h("span", {}, `model ${model.name} version ${model.version}`),
          h("span", {}, `sha256 ${report.model.sha256}`),
          h("span", {}, `saved ${new Date().toISOString()}`),
        ),
        h(
          "div",
          { class: "subject" },
          h("img", { src: input, alt: "The picture as the model sees it", class: "pixels" }),
          classBars(before),
        ),
        withoutControls(h("div", { class: "outcome" }, wholeOutcome(outcome))),
        h("h3", {}, "The same with curl"),
        h("pre", {}, command),
      ),
    ),
  );
  return `<!doctype html>\n${page.outerHTML}\n`;
}

/** The rules of the page that the file needs, as text. */
function styles() {
  return [...document.styleSheets]
    .filter(({ href }) => STYLES.some((name) => href.endsWith(`/${name}`)))
    .flatMap((sheet) => [...sheet.cssRules].map((rule) => rule.cssText))
    .join("\n");
}

/** Without what needs a script, and with everything open. */
function withoutControls(holder) {
  holder.querySelectorAll(".blend").forEach((element) => element.remove());
  holder.querySelectorAll("details").forEach((element) => {
    element.open = true;
  });
  return holder;
}
