// The server that this page came from: its models, its settings, its tokens.

const LOADING_PAUSE_MS = 300;

export class ServerError extends Error {
  /** `status` 0: the server broke off an answer. `code` is a word for programs. */
  constructor(status, message, code = null) {
    super(message);
    Object.assign(this, { status, code });
  }
}

let apiKey = "";

export function setApiKey(key) {
  apiKey = key;
}

function headers() {
  const key = apiKey === "" ? {} : { Authorization: `Bearer ${apiKey}` };
  return { "Content-Type": "application/json", ...key };
}

async function request(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers() });
  if (response.ok) return response;
  let error = { message: response.statusText };
  try {
    error = (await response.json()).error;
  } catch {
    // What is between this page and the server, such as a proxy, answers in a form of another kind.
  }
  throw new ServerError(response.status, error.message, error.code);
}

function post(path, body, signal) {
  return request(path, { method: "POST", body: JSON.stringify(body), signal });
}

/** What each model is, its settings of generation, and the server's limits. */
export async function getProps() {
  const { models, limits } = await (await request("props")).json();
  return models.map((model) => ({ ...model, limits }));
}

export async function countTokens(model, prompt, signal) {
  return (await (await post("tokenize", { model, prompt, add_special_tokens: false }, signal)).json()).count;
}

// A server answers before its models are loaded.
async function postWhenLoaded(path, body, signal) {
  for (;;) {
    try {
      return await post(path, body, signal);
    } catch (error) {
      if (error.code !== "loading") throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, LOADING_PAUSE_MS));
  }
}

/** The parts of a completion as they come: {token}, {metrics} and {finishReason}. */
export async function* streamCompletion(body, signal) {
  const asked = { ...body, stream: true, logprobs: 10, metrics: true };
  const response = await postWhenLoaded("v1/completions", asked, signal);
  let pending = [];
  for await (const data of readEvents(response.body)) {
    if (data === "[DONE]") return;
    const chunk = JSON.parse(data);
    if (chunk.error) throw new ServerError(0, chunk.error.message);
    if (chunk.metrics) yield { metrics: chunk.metrics };
    for (const choice of chunk.choices ?? []) {
      const joined = joinTokens(pending.concat(listTokens(choice.logprobs)), choice.text);
      pending = joined.pending;
      for (const token of joined.tokens) yield { token };
      if (choice.finish_reason) yield { finishReason: choice.finish_reason };
    }
  }
  throw new ServerError(0, "");
}

/** The `data:` of each server-sent event. */
export async function* readEvents(stream) {
  const reader = stream.pipeThrough(new TextDecoderStream()).getReader();
  let buffer = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    buffer += value;
    const lines = buffer.split(/\r?\n/);
    buffer = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data:")) yield line.slice(5).trimStart();
    }
  }
}

/** The legacy lists as one {text, logprob, top} a token; `top` is likeliest first. */
export function listTokens(logprobs) {
  return (logprobs?.tokens ?? []).map((text, i) => ({
    text,
    logprob: round(logprobs.token_logprobs[i]),
    top: Object.entries(logprobs.top_logprobs?.[i] ?? {})
      .map(([word, logprob]) => [word, round(logprob)])
      .sort((a, b) => b[1] - a[1]),
  }));
}

// A draft has ten a token: the room that a browser gives it holds twice as many when they are short.
function round(logprob) {
  return logprob === null ? null : Number(logprob.toFixed(4));
}

/**
 * Gives text to the tokens that it came from: {tokens, pending}.
 *
 * Text can come later than its token: a character may have several, and what may be the beginning
 * of a stop sequence is held back. Tokens that cannot be told apart become one, with the choices
 * that there were at the first.
 */
export function joinTokens(pending, text) {
  if (text === "") return { tokens: [], pending };
  if (pending.map((token) => token.text).join("") === text) {
    return { tokens: pending.map((token) => ({ ...token, word: token.text })), pending: [] };
  }
  if (pending.length === 0) {
    return { tokens: [{ text, word: text, logprob: null, top: [] }], pending: [] };
  }
  const word = pending.map((token) => token.text).join("");
  const logprob = pending.reduce((sum, token) => sum + token.logprob, 0);
  return { tokens: [{ text, word, logprob, top: pending[0].top }], pending: [] };
}
