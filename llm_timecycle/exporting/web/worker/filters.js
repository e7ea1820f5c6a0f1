// Filters, which remove tokens before the draw: top-k, top-p, min-p, typical-p and XTC.
//
// `gaps` are log p_i - max log p, `weights` are exp(gaps), 0 for a removed token. Each filter sets
// the weights of what it removes to 0. Of equal tokens, those with the lowest ids stay.

const BINS = 2048;
const BINS_PER_NAT = 32;

/** Keeps the k largest logits and sets the others to -Infinity. */
export function keepTopK(logits, k) {
  if (k >= logits.length) return;
  const sorted = logits.slice().sort();
  const least = sorted[sorted.length - k];
  let equal = k;
  for (const logit of logits) if (logit > least) equal -= 1;
  for (let id = 0; id < logits.length; id++) {
    if (logits[id] < least || (logits[id] === least && equal-- <= 0)) logits[id] = -Infinity;
  }
}

/** Nucleus sampling: the smallest set of likeliest tokens with probability p. */
export function keepTopP(gaps, weights, p) {
  keepFewest(gaps.map((gap) => -gap), weights, p);
}

/** Tokens at least `minP` times as likely as the likeliest. */
export function keepMinP(weights, minP) {
  const least = minP * weights.reduce((a, b) => Math.max(a, b));
  for (let id = 0; id < weights.length; id++) if (weights[id] < least) weights[id] = 0;
}

/** The smallest set with probability p of tokens whose surprise is closest to the entropy. */
export function keepTypicalP(gaps, weights, p) {
  let total = 0;
  let product = 0;
  for (let id = 0; id < weights.length; id++) {
    if (weights[id] === 0) continue;
    total += weights[id];
    product += weights[id] * gaps[id];
  }
  const mean = product / total;
  keepFewest(gaps.map((gap) => Math.abs(mean - gap)), weights, p);
}

/** XTC: removes the likely tokens but for the least of them; nothing if one of `ends` would go. */
export function excludeTopChoices(weights, threshold, ends) {
  const least = threshold * weights.reduce((a, b) => a + b);
  const likely = [];
  for (let id = 0; id < weights.length; id++) if (weights[id] >= least) likely.push(id);
  if (likely.length === 0) return;
  const kept = likely.reduce((a, b) => (weights[b] < weights[a] ? b : a));
  if (ends.some((id) => id !== kept && likely.includes(id))) return;
  for (const id of likely) if (id !== kept) weights[id] = 0;
}

// The smallest set of tokens, smallest keys first, with a share p of the weight. Keys go into bins
// by size, and only the bin in which the share is reached is sorted.
function keepFewest(keys, weights, p) {
  const sums = new Float64Array(BINS);
  const bins = new Uint16Array(keys.length);
  let total = 0;
  for (let id = 0; id < keys.length; id++) {
    bins[id] = Math.min(keys[id] * BINS_PER_NAT, BINS - 1);
    sums[bins[id]] += weights[id];
    total += weights[id];
  }
  const wanted = p * total;
  let last = 0;
  let reached = 0;
  while (last < BINS - 1 && reached + sums[last] < wanted) reached += sums[last++];
  const inLast = [];
  for (let id = 0; id < keys.length; id++) {
    if (bins[id] === last) inLast.push(id);
    else if (bins[id] > last) weights[id] = 0;
  }
  inLast.sort((a, b) => keys[a] - keys[b] || a - b);
  let isReached = false;
  for (const id of inLast) {
    if (isReached) weights[id] = 0;
    else reached += weights[id];
    isReached ||= reached >= wanted;
  }
}
