// Light, dark, or as the system says.

import { announce } from "./dom.js";
import { forGood } from "./store.js";

const NAME = "clead-theme";
const ORDER = ["system", "light", "dark"];
const SHOWN = { system: "Theme: system", light: "Theme: light", dark: "Theme: dark" };

/** Makes a button go through the themes; the choice is kept in this browser. */
export function themeButton(button) {
  const apply = (theme) => {
    if (theme === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = SHOWN[theme];
  };
  let theme = forGood.getItem(NAME) ?? "system";
  apply(theme);
  button.addEventListener("click", () => {
    theme = ORDER[(ORDER.indexOf(theme) + 1) % ORDER.length];
    forGood.setItem(NAME, theme);
    apply(theme);
    announce(SHOWN[theme]);
  });
}
