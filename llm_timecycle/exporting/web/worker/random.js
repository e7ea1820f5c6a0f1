// NumPy's generator, so that a seed gives the text that `llm-timecycle generate --seed` gives.

const WORD = 0xffffffffn;
const LONG = (1n << 64n) - 1n;
const STATE = (1n << 128n) - 1n;
const MULTIPLIER = 0x2360ed051fc65da44385df649fccf645n;
const POOL = 4;

/** PCG64 (O'Neill 2014, XSL-RR 128/64), seeded as `SeedSequence(seed, spawn_key=(0,))` does. */
export class Generator {
  constructor(seed) {
    const [high, low, incrementHigh, incrementLow] = mixSeed(seed);
    this.increment = ((((incrementHigh << 64n) | incrementLow) << 1n) | 1n) & STATE;
    this.state = 0n;
    this.step();
    this.state = (this.state + ((high << 64n) | low)) & STATE;
    this.step();
  }

  step() {
    this.state = (this.state * MULTIPLIER + this.increment) & STATE;
  }

  /** A whole number from [0, 2^53): 2^53 times the uniform number that NumPy draws. */
  draw() {
    this.step();
    const mixed = (this.state >> 64n) ^ (this.state & LONG);
    const turn = this.state >> 122n;
    const rotated = ((mixed >> turn) | (mixed << (64n - turn))) & LONG;
    return Number(rotated >> 11n);
  }
}

/** Four numbers of 64 bits from a seed of 0 or more: NumPy's SeedSequence. */
function mixSeed(seed) {
  const entropy = [];
  for (let rest = seed; rest > 0n; rest >>= 32n) entropy.push(Number(rest & WORD));
  while (entropy.length < POOL) entropy.push(0);
  entropy.push(0); // the spawn key
  const hash = makeHash(0x43b0d7e5, 0x931e8875);
  const pool = entropy.slice(0, POOL).map(hash);
  const mix = (to, value) => {
    const mixed = Math.imul(0xca01f9dd, pool[to]) - Math.imul(0x4973f715, hash(value));
    pool[to] = (mixed ^ (mixed >>> 16)) >>> 0;
  };
  for (let from = 0; from < POOL; from++) {
    for (let to = 0; to < POOL; to++) if (from !== to) mix(to, pool[from]);
  }
  for (const word of entropy.slice(POOL)) for (let to = 0; to < POOL; to++) mix(to, word);
  const last = makeHash(0x8b51f9dd, 0x58f38ded);
  const words = Array.from({ length: 8 }, (_, index) => BigInt(last(pool[index % POOL])));
  return [0, 2, 4, 6].map((index) => words[index] | (words[index + 1] << 32n));
}

function makeHash(constant, multiplier) {
  return (word) => {
    let value = word ^ constant;
    constant = Math.imul(constant, multiplier);
    value = Math.imul(value, constant);
    return (value ^ (value >>> 16)) >>> 0;
  };
}
