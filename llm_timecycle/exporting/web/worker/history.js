// The text so far, as the penalties see it: counts, and where its end occurred before.

const DRY_LONGEST_MATCH = 50;

export class History {
  /** `breakers`: a Set of tokens that no repeated passage contains. */
  constructor(breakers) {
    this.tokens = [];
    this.counts = new Map();
    this.breakers = breakers;
    this.unbroken = 0;
    this.matches = []; // at each place, how many tokens before it are those at the end
  }

  push(id) {
    const { tokens, matches } = this;
    for (let place = tokens.length - 1; place >= 0; place--) {
      matches[place] = tokens[place] === id ? (place ? matches[place - 1] : 0) + 1 : 0;
    }
    tokens.push(id);
    matches.push(0);
    this.counts.set(id, (this.counts.get(id) ?? 0) + 1);
    this.unbroken = this.breakers.has(id) ? 0 : this.unbroken + 1;
  }

  /** DRY: multiplier * base ** (m - allowed), m the longest match that the token would continue. */
  subtractDry(logits, { dry_multiplier: multiplier, dry_base: base, dry_allowed_length: allowed }) {
    const most = Math.min(this.unbroken, DRY_LONGEST_MATCH);
    const longest = new Map();
    for (let place = 0; place < this.tokens.length - 1; place++) {
      const match = Math.min(this.matches[place], most);
      const next = this.tokens[place + 1];
      if (match < allowed || this.breakers.has(next)) continue;
      longest.set(next, Math.max(match, longest.get(next) ?? 0));
    }
    for (const [id, match] of longest) logits[id] -= multiplier * base ** (match - allowed);
  }

  /** No token that would complete n tokens that were there before, unless none would be left. */
  banRepeatedNgrams(logits, n) {
    const banned = new Set();
    this.tokens.forEach((id, place) => {
      if (n === 1 || (place > 0 && this.matches[place - 1] >= n - 1)) banned.add(id);
    });
    const isLeft = logits.some((logit, id) => logit > -Infinity && !banned.has(id));
    if (isLeft) for (const id of banned) logits[id] = -Infinity;
  }
}
