// What the views share: the server's settings, its models, the picture, the parameters of the attack.

import { get } from "./api.js";

/**
 * Fires `picture`, `model` and `parameters` when these change, `models` once the models are known.
 *
 * picture: null or { blob, name, url, example }; `example` is the name of a bundled one, else null.
 * parameters: as POST /probe takes them, without `model` and `include`; only those that were chosen.
 */
export class App extends EventTarget {
  settings = null;
  engine = null;
  models = [];
  model = null;
  second = null;
  picture = null;
  parameters = {};

  /** Loads the settings and the models; what was chosen stays chosen if it is still there. */
  async load() {
    const [settings, ready, listed] = await Promise.all([
      get("ui/settings.json"),
      get("readyz").catch(() => null),
      get("models"),
    ]);
    this.settings = settings;
    this.engine = ready?.engine ?? null;
    this.models = await Promise.all(
      answering(listed.models).map(async (model) => ({
        ...model,
        ...(await get(`models/${model.name}/${model.version}`)),
      })),
    );
    this.listed = listed.models;
    const fallback = this.named(listed.default) ?? this.models[0] ?? null;
    this.model = this.named(this.model?.name) ?? fallback;
    this.second = this.named(this.second?.name) ?? null;
    this.tell("models");
  }

  /** A served model by `name` or `name/version`; null without one. */
  named(reference) {
    const [name, version] = (reference ?? "").split("/");
    return (
      this.models.find((model) => model.name === name && (!version || model.version === version)) ?? null
    );
  }

  choose(model) {
    this.model = model;
    this.tell("model");
  }

  show(picture) {
    if (this.picture) URL.revokeObjectURL(this.picture.url);
    this.picture = picture && { example: null, ...picture, url: URL.createObjectURL(picture.blob) };
    this.tell("picture");
  }

  set(parameters) {
    this.parameters = parameters;
    this.tell("parameters");
  }

  on(names, listener) {
    for (const name of names) this.addEventListener(name, listener);
  }

  tell(name) {
    this.dispatchEvent(new Event(name));
  }
}

/** The version of each name that answers for it: the current one, else the newest that can be served. */
function answering(listed) {
  const found = new Map();
  for (const model of listed.filter((one) => !one.error)) {
    const before = found.get(model.name);
    const newer = !before || Number(model.version) > Number(before.version);
    if (model.current || (!before?.current && newer)) found.set(model.name, model);
  }
  return [...found.values()];
}

/** Whether a model was trained without perturbations, so that nothing should be expected of it. */
export function isStandard(model) {
  const { threat, provenance } = model.manifest;
  return !threat || ["standard", "none"].includes(provenance.objective);
}

/** The norm and eps that a model was trained for; null for one trained without perturbations. */
export function trainedThreat(model) {
  return isStandard(model) ? null : model.manifest.threat;
}

/** Whether a model was trained for exactly this norm and eps. */
export function isTrainedFor(model, { norm, eps }) {
  const trained = trainedThreat(model);
  return trained !== null && trained.norm === norm && Math.abs(trained.eps - eps) < 1e-6;
}

/** Whether a probe is about one eps: one that was asked for, or the one of the model's threat. */
export function hasAim(model, { eps, norm }) {
  return Boolean(eps) || model.manifest.threat?.norm === norm;
}
