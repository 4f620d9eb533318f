// What went wrong, as a sentence with what to do; and the banner for a server that does not answer.

import { address, Refusal, Unreachable } from "./api.js";
import { announce, fill, h } from "./dom.js";
import { askForKey } from "./key.js";

const LOOK_MS = 3000;
let looking = null;

/** A notice about `error`. `again`: what to do once more when the cause is gone. */
export function failure(error, again) {
  if (error instanceof Unreachable) {
    serverGone();
    return notice(
      "The server does not answer.",
      "Nothing was lost: the picture and the settings are still here.",
      again,
    );
  }
  if (error instanceof Refusal) {
    const retry = error.status === 429 || error.status >= 500 ? again : null;
    return notice(
      `${error.title}.`,
      sentence(error.message),
      retry,
      error.wantsKey && keyButton(error, again),
      requestId(error),
    );
  }
  console.error(error);
  return notice(
    "This page made a mistake.",
    "Load it again; if that does not help, the browser's console says more.",
    again,
  );
}

/** Asks for a key if that is what `error` is about. Resolves to whether to try again. */
export async function keyFor(error) {
  return error instanceof Refusal && error.status === 401 && askForKey(keyReason(error));
}

/**
 * Shows that the server is gone, and looks for it until it is back; then the page is told with
 * `server-back`.
 */
function serverGone() {
  if (looking !== null) return;
  const banner = document.getElementById("banner");
  fill(
    banner,
    h(
      "div",
      { class: "banner" },
      h(
        "p",
        {},
        h("strong", {}, "The server does not answer."),
        " It may be restarting, or the network is down. This page keeps looking.",
      ),
      h("button", { type: "button", onclick: look }, "Try again"),
    ),
  );
  looking = setInterval(look, LOOK_MS);
}

async function look() {
  const alive = await fetch(address("livez"), { cache: "no-store" }).then(
    (response) => response.ok,
    () => false,
  );
  if (!alive || looking === null) return;
  clearInterval(looking);
  looking = null;
  fill(document.getElementById("banner"));
  announce("The server is back.");
  document.dispatchEvent(new Event("server-back"));
}

function notice(title, text, again, ...more) {
  return h(
    "div",
    { class: "notice", role: "alert" },
    h("p", {}, h("strong", {}, title), " ", text),
    h(
      "div",
      { class: "row" },
      again && h("button", { type: "button", onclick: again }, "Try again"),
      ...more,
    ),
  );
}

function keyButton(error, again) {
  return h(
    "button",
    {
      type: "button",
      onclick: async () => {
        if (await askForKey(keyReason(error))) again();
      },
    },
    error.status === 401 ? "Enter a key" : "Use another key",
  );
}

function keyReason(error) {
  return error.status === 401 ? "This server answers requests with a key only." : sentence(error.message);
}

function requestId(error) {
  return (
    error.problem.request_id &&
    h("p", { class: "hint" }, "For the operator: request ", h("code", {}, error.problem.request_id))
  );
}

function sentence(text) {
  const trimmed = text.trim();
  return trimmed && trimmed[0].toUpperCase() + trimmed.slice(1) + (/[.!?]$/.test(trimmed) ? "" : ".");
}
