// What one takes away from a probe: the command, the link, the picture, the report.

import { blobOf } from "./attack.js";
import { announce, download, fill, h } from "./dom.js";
import { curlCommand, fragmentOf } from "./link.js";
import { reportPage } from "./report_page.js";

const SHOWN_MS = 1800;

/** A row of buttons for one outcome. */
export function takeaway(outcome) {
  const { report } = outcome;
  const stem = `${outcome.picture.name.replace(/\.[^.]*$/, "")}-${outcome.model.name}`;
  const command = curlCommand(outcome.picture, outcome.parameters);
  const { model, picture, chosen } = outcome;
  const link = new URL(fragmentOf("probe", { model, picture, parameters: chosen }), location.href).href;
  const said = h("div", {});
  return h(
    "div",
    { class: "takeaway" },
    h(
      "div",
      { class: "row", role: "group", "aria-label": "Take away" },
      copyButton("Copy as curl", command, said),
      copyButton("Copy link", link, said),
      report.images.adversarial &&
        h(
          "button",
          {
            type: "button",
            onclick: () => download(`${stem}-altered.png`, blobOf(report.images.adversarial)),
          },
          "Altered picture (PNG)",
        ),
      h(
        "button",
        {
          type: "button",
          onclick: () => download(`${stem}.json`, JSON.stringify(report, null, 2), "application/json"),
        },
        "Report (JSON)",
      ),
      h(
        "button",
        {
          type: "button",
          onclick: () => download(`${stem}.html`, reportPage(outcome, command), "text/html"),
        },
        "Report (HTML)",
      ),
    ),
    said,
  );
}

function copyButton(text, content, said) {
  const button = h(
    "button",
    {
      type: "button",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(content);
          button.textContent = "Copied";
          announce("Copied.");
          setTimeout(() => {
            button.textContent = text;
          }, SHOWN_MS);
        } catch {
          // Without https, or without permission, it is shown to be copied by hand.
          const area = h("textarea", { readonly: true, rows: 3, "aria-label": text, value: content });
          fill(said, area);
          area.select();
        }
      },
    },
    text,
  );
  return button;
}
