// One probe from the picture to all that is shown of it.

import { classify, probe, Refusal } from "./api.js";
import { IMAGES } from "./link.js";
import { largestChange } from "./pictures.js";

/**
 * Classifies the picture, probes it, and asks the server again about the altered picture.
 *
 * Returns { model, picture, chosen, parameters, report, before, after, levels, input, imagesRefused }: `chosen`
 * is what was chosen, `parameters` all that was sent; `before` and `after` list the classes with their
 * probabilities, `levels` is the largest change of a value in [0, 255] (`after` and `levels` are null without
 * an altered picture), `input` is the picture as the model sees it, `imagesRefused` says whether the key may
 * not ask for altered pictures.
 */
export async function attack(app, model, { signal, onProgress }) {
  const { picture, parameters: chosen } = app;
  const plain = { model: model.name, deadline_ms: patience(app.settings.deadline_ms), ...chosen };
  const { prediction, input } = await classify(picture.blob, { model: model.name, input: true, signal });
  let parameters = { ...plain, include: IMAGES };
  let report;
  let imagesRefused = false;
  try {
    report = await probe(picture.blob, parameters, { signal, onProgress });
  } catch (error) {
    // A key may be allowed to probe and not to be given adversarial images.
    if (!(error instanceof Refusal && error.problem.scope === "probe:images")) throw error;
    imagesRefused = true;
    parameters = plain;
    report = await probe(picture.blob, parameters, { signal, onProgress });
  }
  const { adversarial } = report.images;
  const after =
    adversarial && (await classify(blobOf(adversarial), { model: model.name, signal })).prediction.top;
  const levels = adversarial && (await largestChange(input, adversarial));
  return {
    model,
    picture,
    chosen,
    parameters,
    report,
    before: prediction.top,
    after,
    levels,
    input,
    imagesRefused,
  };
}

/** How long the page waits for a report unless told otherwise: it shows progress and can be cancelled. */
export function patience({ default: usual, max }) {
  return Math.min(max, 4 * usual);
}

/** The file in a data URL. */
export function blobOf(url) {
  const [head, content] = url.split(",");
  const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: /^data:([^;]+)/.exec(head)[1] });
}
