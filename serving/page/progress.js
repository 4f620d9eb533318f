// How far an attack is, while it runs, with a button that stops it.

import { announce, h } from "./dom.js";
import { ruler } from "./ruler.js";
import { epsText } from "./units.js";

const QUARTERS = 4;

/** { element, show }: `show` takes what a progress event says. `marks`: as in `ruler`. */
export function progress({ norm, end, onCancel, title = "Attacking the picture…" }) {
  const bar = h("progress", { max: 1, value: 0, "aria-label": "Progress of the attack" });
  const text = h("p", { class: "hint" }, "Waiting for a free place on the server…");
  const line = h("div", {});
  let told = 0;
  const element = h(
    "div",
    { class: "progress" },
    h(
      "div",
      { class: "row between" },
      h("strong", {}, title),
      h("button", { type: "button", onclick: onCancel }, "Cancel"),
    ),
    bar,
    line,
    text,
  );

  function show({
    gradient_evaluations: done,
    bound,
    held,
    flipped,
    samples,
    certificate_samples: allSamples,
  }) {
    const certifying = samples > 0;
    const share = certifying ? samples / allSamples : done / bound;
    bar.max = 1;
    bar.value = share;
    line.replaceChildren(ruler({ held, flipped, norm, end: Math.max(end, (flipped ?? 0) * 1.2) }));
    text.textContent = certifying
      ? `Certifying: ${samples.toLocaleString("en")} of ${allSamples.toLocaleString("en")} noisy pictures.`
      : `${done.toLocaleString("en")} of at most ${bound.toLocaleString("en")} gradients. ${soFar(held, flipped, norm)}`;
    const quarter = Math.floor(share * QUARTERS);
    if (quarter > told) {
      told = quarter;
      announce(`${quarter * 25}%. ${soFar(held, flipped, norm)}`);
    }
  }

  return { element, show };
}

function soFar(held, flipped, norm) {
  const parts = [
    held ? `attacked in vain up to ${epsText(held, norm, "down")}` : null,
    flipped === null ? null : `nearest example so far at ${epsText(flipped, norm, "up")}`,
  ].filter(Boolean);
  return parts.length ? `So far: ${parts.join("; ")}.` : "";
}
