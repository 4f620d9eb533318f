// Requests to the server that sent this page; every failure is a `Refusal` or an `Unreachable`.

import { currentKey } from "./key.js";

const ROOT = new URL("../", import.meta.url);

/** The server answered, and said no: a problem of RFC 9457, with what to do next. */
export class Refusal extends Error {
  constructor(problem, status) {
    super(problem.detail ?? "");
    Object.assign(this, {
      problem,
      status,
      code: problem.code ?? "",
      title: problem.title ?? `Status ${status}`,
    });
  }

  /** Whether another key would help. */
  get wantsKey() {
    return this.status === 401 || this.code === "forbidden";
  }
}

/** The server did not answer at all. */
export class Unreachable extends Error {}

/** An address of the API, with the parameters that have a value. */
export function address(path, parameters = {}) {
  const url = new URL(path, ROOT);
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== undefined && value !== "") url.searchParams.set(name, value);
  }
  // Both are legal in a query, and read better there.
  url.search = url.search.replaceAll("%2F", "/").replaceAll("%2C", ",");
  return url;
}

/** The JSON answer to a GET. */
export async function get(path) {
  return askForJson(address(path), {});
}

/**
 * The top classes of a picture, and with `input` the picture as the model sees it. `milliseconds`: there and
 * back.
 */
export async function classify(blob, { model, top = 1000, input = false, signal } = {}) {
  const begun = performance.now();
  const url = address("classify", { model, top, include: input ? "input" : null });
  const answer = await askForJson(url, { method: "POST", body: blob, headers: typed(blob), signal });
  return {
    model: answer.model,
    prediction: answer.predictions[0],
    input: answer.inputs?.[0] ?? null,
    milliseconds: performance.now() - begun,
  };
}

/**
 * The report of a probe; `onProgress` is told how far it is. Aborting `signal` stops the attack on the
 * server.
 */
export async function probe(blob, parameters, { signal, onProgress }) {
  const headers = { ...typed(blob), Accept: "text/event-stream" };
  const response = await ask(address("probe", parameters), { method: "POST", body: blob, headers, signal });
  for await (const { name, data } of events(response.body)) {
    if (name === "progress") onProgress(data);
    else if (name === "result") return data;
    else if (name === "problem") throw new Refusal(data, data.status);
  }
  throw new Unreachable("the stream of events ended before the result");
}

async function ask(url, options) {
  const key = currentKey();
  const headers = {
    Accept: "application/json",
    ...options.headers,
    ...(key ? { Authorization: `Bearer ${key}` } : {}),
  };
  const response = await reached(() =>
    fetch(url, { ...options, headers, cache: "no-store", credentials: "omit" }),
  );
  if (response.ok) return response;
  const problem = await response.json().catch(() => null);
  // A proxy answers for a server that is gone, and not with a problem of ours.
  if (problem === null && response.status >= 502) throw new Unreachable(`status ${response.status}`);
  throw new Refusal(problem ?? {}, response.status);
}

async function askForJson(url, options) {
  const response = await ask(url, options);
  return reached(() => response.json());
}

async function* events(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { done, value } = await reached(() => reader.read());
    if (done) return;
    text += value;
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s).slice(0, 2)));
      yield { name: fields.event, data: JSON.parse(fields.data) };
    }
  }
}

async function reached(request) {
  try {
    return await request();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable(error.message);
  }
}

function typed(blob) {
  return {
    "Content-Type": /^image\/(png|jpe?g|webp)$/.test(blob.type) ? blob.type : "application/octet-stream",
  };
}
