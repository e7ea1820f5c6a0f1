// Text to ids, as `llm_timecycle/text/tokenizer` does it.
//
// `facts`: level, splits_at_whitespace, lowercase, normalize, documents, eos_ends_documents, tokens;
// for words of the unicode split also patterns and are_words, for subwords patterns and merges.

export const UNKNOWN_ID = 0;
export const END_ID = 1;
const SPECIAL_TOKENS = 2;
const MERGED_PIECES_KEPT = 10_000;

// What Python's str.split splits on.
const WHITE_SPACE = /[\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]+/;

export class Tokenizer {
  constructor(facts) {
    this.facts = facts;
    this.ids = new Map(facts.tokens.map((token, id) => [token, id]));
    if (facts.patterns) this.patterns = facts.patterns.map((pattern) => new RegExp(pattern, "gv"));
    if (facts.merges) {
      this.ranks = new Map(facts.merges.map((pair, rank) => [pair, rank]));
      this.pieces = new Map();
    }
    this.splits = { char: encodeCharacters, byte: encodeBytes, subword: encodeSubwords }[facts.level]
      ?? (facts.splits_at_whitespace ? encodeLines : encodeWords);
  }

  /** The ids of a text. */
  encode(text) {
    return this.splits(this, this.unify(text));
  }

  /** The ids of a prompt, one or more: an <eos> comes first where it begins a document. */
  encodePrompt(prompt) {
    const ids = this.encode(prompt);
    return ids.length > 0 && this.facts.documents === "file" ? ids : [END_ID, ...ids];
  }

  unify(text) {
    const { normalize, lowercase } = this.facts;
    const form = (each) => (normalize === "none" ? each : each.normalize(normalize));
    const unified = form(text);
    return lowercase ? form(unified.replaceAll("Σ", "σ").toLowerCase()) : unified;
  }

  find(token) {
    return this.ids.get(token) ?? UNKNOWN_ID;
  }
}

// The special tokens are no characters, though a text may spell them.
function encodeCharacters(tokenizer, text) {
  return Array.from(text, (character) => tokenizer.find(character));
}

function encodeBytes(_, text) {
  return Array.from(new TextEncoder().encode(text), (byte) => byte + SPECIAL_TOKENS);
}

function encodeLines(tokenizer, text) {
  const lineBreak = tokenizer.facts.eos_ends_documents ? " " : " <eos> ";
  const words = text.replaceAll("\n", lineBreak).split(WHITE_SPACE);
  return words.filter((word) => word !== "").map((word) => tokenizer.find(word));
}

function encodeWords(tokenizer, text) {
  const [token, spaceAfterWord] = tokenizer.patterns;
  return Array.from(text.matchAll(token), ([match]) =>
    tokenizer.find(match.replace(spaceAfterWord, "")),
  );
}

/** Byte-level BPE: in each piece, the pair that was learned first is merged first. */
function encodeSubwords(tokenizer, text) {
  const [pattern] = tokenizer.patterns;
  const ids = [];
  let end = 0;
  for (const { 0: match, index } of [...text.matchAll(pattern), { 0: "", index: text.length }]) {
    if (index > end) ids.push(...mergePiece(tokenizer, text.slice(end, index)));
    if (match) ids.push(...mergePiece(tokenizer, match));
    end = index + match.length;
  }
  return ids;
}

function mergePiece(tokenizer, piece) {
  const { pieces, ranks } = tokenizer;
  if (pieces.has(piece)) return pieces.get(piece);
  const parts = Array.from(new TextEncoder().encode(piece), (byte) => BYTE_CHARACTERS[byte]);
  while (parts.length > 1) {
    let best = -1;
    let bestRank = Infinity;
    for (let i = 0; i + 1 < parts.length; i++) {
      const rank = ranks.get(`${parts[i]} ${parts[i + 1]}`) ?? Infinity;
      if (rank < bestRank) [best, bestRank] = [i, rank];
    }
    if (best < 0) break;
    parts.splice(best, 2, parts[best] + parts[best + 1]);
  }
  const ids = parts.map((part) => tokenizer.find(part));
  if (pieces.size >= MERGED_PIECES_KEPT) pieces.clear();
  pieces.set(piece, ids);
  return ids;
}

// How the vocabulary spells each byte, as in GPT-2: printable ones as themselves.
const PRINTABLE = /[\x21-\x7e\xa1-\xac\xae-\xff]/;
export const BYTE_CHARACTERS = [];
for (let byte = 0, others = 0; byte < 256; byte++) {
  const character = String.fromCharCode(byte);
  BYTE_CHARACTERS.push(PRINTABLE.test(character) ? character : String.fromCharCode(256 + others++));
}
