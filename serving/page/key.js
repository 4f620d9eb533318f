// The API key: asked for when the server wants one, kept for this tab only.

import { h } from "./dom.js";
import { forThisTab } from "./store.js";

const NAME = "clead-key";
let asking = null;

/** The key in use, or an empty string. */
export function currentKey() {
  return forThisTab.getItem(NAME) ?? "";
}

/**
 * Asks for a key, once however many requests want one. Resolves to whether another one is in use now. `reason`:
 * why it is asked for.
 */
export function askForKey(reason) {
  asking ??= dialogFor(reason).finally(() => {
    asking = null;
  });
  return asking;
}

function dialogFor(reason) {
  return new Promise((resolve) => {
    const input = h("input", {
      type: "password",
      id: "key-input",
      autocomplete: "off",
      spellcheck: "false",
      required: true,
      value: currentKey(),
      "aria-describedby": "key-reason",
    });
    let changed = false;
    const use = (value) => {
      changed = value !== currentKey();
      if (value) forThisTab.setItem(NAME, value);
      else forThisTab.removeItem(NAME);
      dialog.close();
    };
    const dialog = h(
      "dialog",
      {
        class: "dialog",
        "aria-labelledby": "key-title",
        onclose: () => {
          dialog.remove();
          resolve(changed);
        },
      },
      h(
        "form",
        {
          method: "dialog",
          onsubmit: (event) => {
            event.preventDefault();
            use(input.value.trim());
          },
        },
        h("h2", { id: "key-title" }, "API key"),
        h("p", { id: "key-reason" }, reason),
        h("label", { for: "key-input" }, "Key"),
        input,
        h(
          "p",
          { class: "hint" },
          "It stays in this tab and is forgotten when the tab is closed. The operator of the server makes keys with ",
          h("code", {}, "clead keys new"),
          ".",
        ),
        h(
          "div",
          { class: "row end" },
          currentKey() &&
            h("button", { type: "button", class: "quiet", onclick: () => use("") }, "Forget key"),
          h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"),
          h("button", { type: "submit", class: "primary" }, "Use key"),
        ),
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    input.select();
  });
}
