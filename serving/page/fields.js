// Labelled form fields that check themselves against the server's limits.

import { h } from "./dom.js";
import { typedSize } from "./units.js";

/** A field: label, control, and a hint below. */
export function field(label, control, hint) {
  const id = control.id;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return h(
    "div",
    { class: "field" },
    h("label", { for: id }, label),
    control,
    hint && h("p", { class: "hint", id: `${id}-hint` }, hint),
  );
}

/** A list to choose from: [value, text] pairs. */
export function choiceOf(name, options) {
  return h(
    "select",
    { id: `p-${name}`, name },
    options.map(([value, text]) => h("option", { value }, text)),
  );
}

/** A whole number within the server's bounds; empty means its default. */
export function wholeNumber(name, { min, default: usual, max }) {
  return h("input", {
    id: `p-${name}`,
    name,
    type: "number",
    inputmode: "numeric",
    min,
    max,
    step: 1,
    placeholder: usual,
  });
}

/** A size as 8/255 or 0.031, or several with commas; `caps()` gives { most, values, least }. */
export function sizes(name, caps, { required = false, placeholder = "" } = {}) {
  const input = h("input", {
    id: `p-${name}`,
    name,
    type: "text",
    inputmode: "text",
    autocomplete: "off",
    spellcheck: "false",
    placeholder,
  });
  const check = () => input.setCustomValidity(wrong(input.value, caps(), required));
  input.addEventListener("input", check);
  input.check = check;
  return input;
}

function wrong(text, { most, values = 1, least = 0 }, required) {
  if (!text.trim()) return required ? "Give at least one size, as 8/255 or 0.031." : "";
  const parts = text.split(",");
  if (parts.length > values) return values === 1 ? "Give one size." : `At most ${values} sizes are accepted.`;
  const bad = parts.find((part) => {
    const size = typedSize(part);
    return !(size >= least && size <= most);
  });
  return bad === undefined
    ? ""
    : `“${bad.trim()}” is not a size from ${least} to ${most}, as 8/255 or 0.031.`;
}
