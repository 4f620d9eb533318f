// A probe as a link to this page, and as a command for a shell.

import { address } from "./api.js";
import { currentKey } from "./key.js";

export const VIEWS = ["probe", "compare", "models"];
const PARAMETERS = [
  "norm",
  "eps",
  "max_eps",
  "steps",
  "restarts",
  "loss",
  "target",
  "seed",
  "deadline_ms",
  "evidence",
  "certify",
  "sigma",
  "certify_samples",
];
export const IMAGES = "adversarial,difference";

/**
 * What the fragment of an address says: { view, model, second, example, parameters }. Unknown names are left
 * out.
 */
export function readFragment(fragment) {
  const [view, query = ""] = fragment.replace(/^#/, "").split("?");
  const given = new URLSearchParams(query);
  const parameters = {};
  for (const name of PARAMETERS) if (given.get(name)) parameters[name] = given.get(name);
  return {
    view: VIEWS.includes(view) ? view : "probe",
    model: given.get("model"),
    second: given.get("second"),
    example: given.get("example"),
    parameters,
  };
}

/** The fragment that restores what is chosen: { model, second, picture, parameters }, such as an `App`. The fragment of an address is never sent to a server. */
export function fragmentOf(view, { model, second, picture, parameters: given }) {
  if (view === "models") return "#models";
  const chosen = new URLSearchParams();
  if (model) chosen.set("model", model.name);
  if (view === "compare" && second) chosen.set("second", second.name);
  for (const name of PARAMETERS) if (given[name]) chosen.set(name, given[name]);
  if (picture?.example) chosen.set("example", picture.example);
  const query = chosen.toString().replaceAll("%2F", "/").replaceAll("%2C", ",");
  return `#${view}${query && `?${query}`}`;
}

/** The command that asks for the same report. A key is not in it: it is read from the variable CLEAD_KEY. */
export function curlCommand(picture, parameters) {
  const url = address("probe", parameters);
  const example = picture.example && address(`ui/${picture.name}`);
  const words = [
    example
      ? `curl -s ${quoted(example)} | curl --data-binary @-`
      : `curl --data-binary ${quoted(`@${picture.name}`)}`,
    `-H ${quoted(`Content-Type: ${picture.blob.type || "application/octet-stream"}`)}`,
    currentKey() && '-H "Authorization: Bearer $CLEAD_KEY"',
    quoted(url),
  ];
  return words.filter(Boolean).join(" ");
}

function quoted(text) {
  return `'${String(text).replaceAll("'", "'\\''")}'`;
}
