// The thread that writes. It hears {load}, {write} and {stop}, and posts {ready}, {text}, {end} and
// {trouble}; between slices of work it hears what has come meanwhile.

import { Network } from "./network.js";
import { Generator } from "./random.js";
import { Sampler } from "./sampler.js";
import { makeStream, StopFilter } from "./streams.js";
import { END_ID, Tokenizer, UNKNOWN_ID } from "./tokenizer.js";
import { decodeBase64, readTensors } from "./weights.js";

const SLICE_MS = 20;
const SEED_BITS = 48n;

class Writer {
  constructor(model, base64) {
    this.plan = model.sampling;
    this.tokenizer = new Tokenizer(model.tokenizer);
    const tensors = readTensors(decodeBase64(base64), model.tensors, model.precision);
    this.network = new Network(tensors, model.network);
    this.endId = model.tokenizer.eos_ends_documents ? END_ID : null;
    this.known = []; // states of the network, each with the ids that led there
    this.ids = []; // what the network has read
    this.isStopped = false;
    this.text = null;
  }

  /**
   * Writes what follows `prompt`, or goes on with the last text if `resumes`. The settings are
   * length, temperature, top_k, top_p, and seed, as digits or null. Posts {text} with the pieces
   * and how many tokens they are, then {end} with the reason, the seed and the times.
   */
  async write({ prompt, resumes, ...settings }) {
    this.isStopped = false;
    const startMs = performance.now();
    const times = { prompt: 0, model: 0, sampling: 0, text: 0 };
    let unknown = 0;
    if (!(resumes && this.text)) {
      const ids = this.tokenizer.encodePrompt(prompt);
      unknown = ids.filter((id) => id === UNKNOWN_ID).length;
      this.text = null;
      if (await this.readPrompt(ids)) this.text = this.begin(ids, settings.seed);
    }
    const promptEndMs = performance.now();
    times.prompt = promptEndMs - startMs;
    let reason = this.text ? null : "stopped";
    let count = 0;
    let firstMs = null;
    while (reason === null) {
      const sliceEndMs = performance.now() + SLICE_MS;
      let piece = "";
      let tokens = 0;
      do {
        const step = this.addToken(settings, times);
        piece += step.piece;
        tokens += 1;
        firstMs ??= performance.now();
        reason = step.reason ?? (count + tokens >= settings.length ? "length" : null);
      } while (reason === null && count > 0 && performance.now() < sliceEndMs);
      count += tokens;
      const nowMs = performance.now();
      postMessage({ kind: "text", piece, count, elapsedMs: nowMs - firstMs });
      await pause();
      if (reason === null && this.isStopped) reason = "stopped";
    }
    const seed = this.text?.seed.toString() ?? null;
    const canResume = this.text !== null && (reason === "length" || reason === "stopped");
    if (!canResume) this.text = null;
    const firstTokenMs = firstMs === null ? null : firstMs - startMs;
    const writingMs = firstMs === null ? 0 : performance.now() - firstMs;
    postMessage({ kind: "end", reason, count, seed, unknown, canResume, times, firstTokenMs, writingMs });
  }

  begin(ids, seed) {
    const chosen = seed === null ? drawSeed() : BigInt(seed);
    // An <eos> in front of a text is not part of it: counted, it would keep a text from ending.
    const read = ids.filter((id) => id !== this.endId);
    return {
      seed: chosen,
      generator: new Generator(chosen),
      sampler: new Sampler(this.plan, read),
      stream: makeStream(this.tokenizer.facts, ids),
      stops: new StopFilter(this.plan.stop),
      last: null, // the token that the network has not read yet
    };
  }

  /** Reads the ids of a prompt, from the furthest state that is known; whether it got to the end. */
  async readPrompt(ids) {
    const states = [{ ids: this.ids, state: this.network.save() }, ...this.known];
    const fitting = states.filter(({ ids: read }) => read.length && isPrefix(read, ids));
    const furthest = fitting.reduce((a, b) => (b.ids.length > a.ids.length ? b : a), { ids: [] });
    if (furthest.state) this.network.restore(furthest.state);
    else this.network.reset();
    this.ids = [...furthest.ids];
    let sliceEndMs = performance.now() + SLICE_MS;
    while (this.ids.length < ids.length) {
      this.read(ids[this.ids.length]);
      if (performance.now() < sliceEndMs) continue;
      await pause();
      if (this.isStopped) return false;
      sliceEndMs = performance.now() + SLICE_MS;
    }
    this.known = [{ ids: [...ids], state: this.network.save() }]; // for another version
    return true;
  }

  read(id) {
    this.network.read(id);
    this.ids.push(id);
  }

  addToken(settings, times) {
    const { text } = this;
    const beginMs = performance.now();
    if (text.last !== null) this.read(text.last);
    const logits = this.network.computeLogits();
    const computedMs = performance.now();
    const id = text.sampler.sample(logits, settings, text.generator.draw());
    const sampledMs = performance.now();
    text.last = id;
    const isEnd = id === this.endId;
    let piece = isEnd ? "" : text.stops.push(text.stream.push(id));
    if (isEnd) piece += text.stops.push(text.stream.finish()) + text.stops.finish();
    times.model += computedMs - beginMs;
    times.sampling += sampledMs - computedMs;
    times.text += performance.now() - sampledMs;
    return { piece, reason: text.stops.hasStopped ? "stop" : isEnd ? "end_of_text" : null };
  }
}

function isPrefix(short, long) {
  return short.length <= long.length && short.every((id, index) => id === long[index]);
}

function drawSeed() {
  const [bits] = crypto.getRandomValues(new BigUint64Array(1));
  return bits >> (64n - SEED_BITS);
}

// Lets messages in; a timer would wait for some milliseconds.
const channel = new MessageChannel();
function pause() {
  return new Promise((resolve) => {
    channel.port1.onmessage = resolve;
    channel.port2.postMessage(null);
  });
}

let writer = null;
onmessage = async ({ data }) => {
  try {
    if (data.kind === "load") {
      writer = new Writer(data.model, data.weights);
      postMessage({ kind: "ready" });
    } else if (data.kind === "write") {
      await writer.write(data);
    } else {
      writer.isStopped = true;
    }
  } catch (error) {
    if (writer) writer.text = null;
    postMessage({ kind: "trouble", message: error.message });
  }
};
