// Sizes, shares and names as people read them.

const NORMS = {
  linf: { symbol: "l∞", long: "largest change of any colour value (l∞)" },
  l2: { symbol: "l2", long: "overall length of the change (l2)" },
  l1: { symbol: "l1", long: "sum of all changes (l1)" },
};

/** A norm in words, its symbol in brackets. */
export const normLong = (norm) => NORMS[norm]?.long ?? norm;

/** A norm's symbol. */
export const normSymbol = (norm) => NORMS[norm]?.symbol ?? norm;

/**
 * eps, as `5.86/255` for l-inf. `round`: "down" for what held, "up" for what flipped, so that neither is
 * overstated.
 */
export function epsText(eps, norm, round = "nearest") {
  if (eps === null || eps === undefined) return "–";
  return norm === "linf" ? `${levels(eps, round)}/255` : shortened(eps, round);
}

/** An l-inf eps in levels of 255. */
export function levels(eps, round = "nearest") {
  return shortened(eps * 255, round);
}

/** What an eps means, in a sentence about the picture. */
export function epsMeaning(eps, norm, space) {
  const values = (3 * space.height * space.width).toLocaleString("en");
  if (norm === "linf")
    return `no colour value of any pixel moves by more than ${levels(eps, "up")} of its 255 levels`;
  if (norm === "l2")
    return `the change has a length of ${shortened(eps, "up")} over all ${values} values, each from 0 to 1`;
  return `all changes add up to ${shortened(eps, "up")}, over ${values} values from 0 to 1`;
}

/** A probability or an accuracy, such as 62% or 0.4%; 0% and 100% only where it is. */
export function percent(share) {
  const value = 100 * share;
  if (value > 0 && value < 0.1) return "<0.1%";
  if (value > 99.9 && value < 100) return ">99.9%";
  const whole = value === 0 || value === 100 || (value >= 10 && value <= 99);
  return `${whole ? Math.round(value) : value.toFixed(1)}%`;
}

/** An accuracy as a model card gives it: one decimal. */
export const accuracyText = (share) => `${(100 * share).toFixed(1)}%`;

/** `a dog`, `an airplane`; names that are no plain words stand in quotation marks. */
export function aClass(label) {
  if (!/^[a-z]+( [a-z]+)*$/.test(label)) return `“${label}”`;
  return `${/^[aeiou]/.test(label) ? "an" : "a"} ${label}`;
}

/** A number of bytes. */
export function bytesText(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  return bytes < 1e6 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}

/** A duration. */
export function timeText(milliseconds) {
  return milliseconds < 995
    ? `${Math.max(1, Math.round(milliseconds))} ms`
    : `${(milliseconds / 1000).toFixed(1)} s`;
}

/** A size as typed, `8/255` or `0.031`; NaN for anything else. */
export function typedSize(text) {
  const match = /^\s*([\d.]+(?:e-?\d+)?)\s*(?:\/\s*([\d.]+))?\s*$/i.exec(text);
  return match ? Number(match[1]) / (match[2] === undefined ? 1 : Number(match[2])) : NaN;
}

function shortened(value, round) {
  const digits = value >= 100 ? 0 : value >= 10 ? 1 : value >= 0.1 ? 2 : 4;
  const scaled = value * 10 ** digits;
  // float32 gives 7.9999998 for 8.
  const slack = Math.max(1e-3, scaled * 1e-6);
  const rounded =
    round === "down"
      ? Math.floor(scaled + slack)
      : round === "up"
        ? Math.ceil(scaled - slack)
        : Math.round(scaled);
  return String(rounded / 10 ** digits);
}
