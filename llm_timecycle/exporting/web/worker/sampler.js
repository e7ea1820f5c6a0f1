// Logits to a token, in the order of `llm_timecycle/generation/sampling/pipeline.py`.

import { excludeTopChoices, keepMinP, keepTopK, keepTopP, keepTypicalP } from "./filters.js";
import { History } from "./history.js";

const BOUND_MARGIN = 1.001; // far above its rounding error
const NO_ID = 0xffffffff; // the hash of no token: a second random number from the same draw

export class Sampler {
  /** `plan`: what the run sets, with tokens as ids; `tokens`: the prompt, without <eos>. */
  constructor(plan, tokens) {
    this.plan = plan;
    this.history = new History(new Set(plan.breakers));
    for (const id of tokens) this.history.push(id);
  }

  /**
   * The next token: `bits` is a random whole number below 2^53, `settings` has temperature, top_p
   * and top_k. The token is part of the history from then on.
   */
  sample(logits, settings, bits) {
    const adjusted = this.adjust(logits);
    const id = settings.temperature === 0 ? findLargest(adjusted) : this.draw(adjusted, settings, bits);
    this.history.push(id);
    return id;
  }

  adjust(logits) {
    const { plan, history } = this;
    const adjusted = new Float64Array(logits);
    if (!adjusted.every(Number.isFinite)) throw new Error("logits");
    const { repetition_penalty: repetition, presence_penalty: presence } = plan;
    for (const [id, count] of history.counts) {
      adjusted[id] = adjusted[id] > 0 ? adjusted[id] / repetition : adjusted[id] * repetition;
      adjusted[id] -= presence + plan.frequency_penalty * count;
    }
    if (plan.dry_multiplier > 0) history.subtractDry(adjusted, plan);
    for (const [id, added] of plan.bias) adjusted[id] += added;
    for (const id of plan.banned) adjusted[id] = -Infinity;
    if (plan.no_repeat_ngram > 0) history.banRepeatedNgrams(adjusted, plan.no_repeat_ngram);
    return adjusted;
  }

  draw(logits, { temperature, top_k: k, top_p: topP }, bits) {
    const { plan } = this;
    if (k > 0) keepTopK(logits, k);
    const largest = logits[findLargest(logits)];
    const gaps = logits.map((logit) => (logit - largest) / temperature);
    const weights = gaps.map(Math.exp);
    if (topP < 1) keepTopP(gaps, weights, topP);
    if (plan.min_p > 0) keepMinP(weights, plan.min_p);
    if (plan.typical_p < 1) keepTypicalP(gaps, weights, plan.typical_p);
    if (plan.xtc_probability > 0 && toShare(hash(NO_ID, bits)) < plan.xtc_probability) {
      excludeTopChoices(weights, plan.xtc_threshold, plan.ends);
    }
    return drawByGumbel(gaps, weights, bits);
  }
}

function findLargest(values) {
  let largest = 0;
  for (let id = 1; id < values.length; id++) if (values[id] > values[largest]) largest = id;
  return largest;
}

// The Gumbel-max trick: token i with probability w_i / sum w is
//     argmax log w_i - log E_i,    E_i = -log(1 - p_i),    p_i a hash of the draw and the token
// E_i is at least p_i, so a token whose p_i / w_i is above the E / w of another cannot be the one.
function drawByGumbel(gaps, weights, bits) {
  let first = -1;
  let best = -Infinity;
  let bound = Infinity;
  for (let id = 0; id < gaps.length; id++) {
    const p = toShare(hash(id, bits));
    if (weights[id] === 0 || p > bound * weights[id]) continue;
    const arrival = -Math.log1p(-p);
    const score = gaps[id] - Math.log(arrival);
    if (first >= 0 && score <= best) continue;
    [first, best] = [id, score];
    bound = (BOUND_MARGIN * arrival) / weights[id];
  }
  return first;
}

// lowbias32 (Wellons 2018); of the 53 bits, the upper ones multiply the id, the lower 32 shift it
function hash(id, bits) {
  const spread = Math.imul(Math.floor(bits / 2 ** 31) | 1, 0x9e3779b1);
  let hashed = Math.imul(id, spread) + (bits % 2 ** 32);
  hashed ^= hashed >>> 16;
  hashed = Math.imul(hashed, 0x7feb352d);
  hashed ^= hashed >>> 15;
  hashed = Math.imul(hashed, 0x846ca68b);
  return (hashed ^ (hashed >>> 16)) >>> 0;
}

function toShare(hashed) {
  return (hashed + 0.5) * 2 ** -32;
}
