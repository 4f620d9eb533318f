// The original, the altered picture and their difference side by side, and a slider that blends the first
// two.

import { h } from "./dom.js";
import { aClass, epsText, percent } from "./units.js";

/** The figures of one outcome of `attack`. */
export function pictures({ report, levels, input: original, imagesRefused }) {
  const { images, prediction } = report;
  if (!images.adversarial) {
    const reason = imagesRefused
      ? "this key may not ask for one (it lacks the scope probe:images)"
      : images.reason;
    return h("p", { class: "hint" }, `There is no altered picture: ${reason}.`);
  }
  const amplified = levels
    ? `at most ${levels} of 255 levels, amplified ×${Math.round(127.5 / levels)}`
    : "nothing was changed";
  return h(
    "div",
    { class: "pictures" },
    picture(
      original,
      "Original",
      [prediction.label, " ", h("b", {}, percent(prediction.probability))],
      "The picture as the model sees it",
    ),
    picture(
      images.adversarial,
      "Altered",
      [images.label, " ", h("b", {}, percent(images.probability))],
      `Altered within ${epsText(images.eps, report.threat.norm, "up")}: taken for ${aClass(images.label)}`,
    ),
    images.difference &&
      picture(images.difference, "Difference", [amplified], "What was changed; grey is no change"),
    blend(original, images.adversarial),
  );
}

function picture(url, title, below, alternative) {
  return h(
    "figure",
    {},
    h("img", { src: url, alt: alternative, class: "pixels" }),
    h("figcaption", {}, h("span", { class: "title" }, title), h("span", {}, below)),
  );
}

function blend(original, altered) {
  const over = h("img", { src: altered, alt: "", class: "pixels over" });
  const slider = h("input", {
    type: "range",
    min: 0,
    max: 100,
    value: 50,
    step: 1,
    "aria-label": "Blend from the original to the altered picture",
  });
  const show = () => {
    over.style.opacity = slider.value / 100;
    slider.setAttribute("aria-valuetext", `${slider.value}% altered`);
  };
  slider.addEventListener("input", show);
  show();
  return h(
    "figure",
    { class: "blend" },
    h(
      "div",
      { class: "stack" },
      h("img", { src: original, alt: "Blend of the original and the altered picture", class: "pixels" }),
      over,
    ),
    h("figcaption", {}, h("span", { class: "title" }, "Blend"), slider),
  );
}

/** The largest change of any value between two pictures of one size, in levels of 255. */
export async function largestChange(original, altered) {
  const [one, other] = await Promise.all([original, altered].map(pixelsOf));
  let most = 0;
  for (let at = 0; at < one.length; at += 1) most = Math.max(most, Math.abs(one[at] - other[at]));
  return most;
}

async function pixelsOf(url) {
  const image = h("img", { src: url });
  await image.decode();
  const canvas = h("canvas", { width: image.naturalWidth, height: image.naturalHeight });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height).data;
}
