// Ids to text, one id at a time: each token shows the characters that it completes.

import { BYTE_CHARACTERS, END_ID, UNKNOWN_ID } from "./tokenizer.js";

const REPLACEMENT = "\ufffd";

/** A decoder for the text after the ids of a prompt; `push(id)` gives text, `finish()` the rest. */
export function makeStream(facts, promptIds) {
  if (facts.level === "char") return new CharacterStream(facts.tokens);
  if (facts.level !== "word") return new ByteStream(facts.tokens);
  if (!facts.splits_at_whitespace) return new WordStream(facts, promptIds);
  return new LineStream(facts.tokens, promptIds);
}

class CharacterStream {
  constructor(tokens) {
    this.texts = [REPLACEMENT, "", ...tokens.slice(2)];
  }

  push(id) {
    return this.texts[id];
  }

  finish() {
    return "";
  }
}

// The bytes of an incomplete character wait for the rest.
class ByteStream {
  constructor(tokens) {
    const values = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));
    const spell = (token) => Uint8Array.from(token, (character) => values.get(character));
    const unknown = new TextEncoder().encode(REPLACEMENT);
    this.bytes = [unknown, new Uint8Array(), ...tokens.slice(2).map(spell)];
    this.decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  }

  push(id) {
    return this.decoder.decode(this.bytes[id], { stream: true });
  }

  finish() {
    return this.decoder.decode();
  }
}

// Words with one space between them; <eos> is the end of a line.
class LineStream {
  constructor(tokens, promptIds) {
    this.tokens = tokens;
    this.isLineStart = promptIds.length === 0 || promptIds.at(-1) === END_ID;
  }

  push(id) {
    const space = this.isLineStart ? "" : " ";
    this.isLineStart = id === END_ID;
    return this.isLineStart ? "\n" : space + this.tokens[id];
  }

  finish() {
    return "";
  }
}

// Words and what is between them; a space joins two words that meet.
class WordStream {
  constructor({ tokens, are_words: areWords }, promptIds) {
    this.texts = [tokens[UNKNOWN_ID], "", ...tokens.slice(2)];
    this.areWords = areWords;
    this.isAfterWord = promptIds.length > 0 && this.isWord(promptIds.at(-1));
  }

  isWord(id) {
    return this.areWords[id] === "1";
  }

  push(id) {
    const isWord = this.isWord(id);
    const space = isWord && this.isAfterWord ? " " : "";
    this.isAfterWord = isWord;
    return space + this.texts[id];
  }

  finish() {
    return "";
  }
}

/** Passes text on as it grows, but holds back any end that may become a stop sequence. */
export class StopFilter {
  constructor(stops) {
    this.stops = stops;
    this.held = "";
    this.hasStopped = false;
  }

  push(piece) {
    const text = this.held + piece;
    const starts = this.stops.map((stop) => text.indexOf(stop)).filter((start) => start >= 0);
    this.hasStopped = starts.length > 0;
    const shown = this.hasStopped ? Math.min(...starts) : text.length - this.countHeld(text);
    this.held = this.hasStopped ? "" : text.slice(shown);
    return text.slice(0, shown);
  }

  finish() {
    const { held } = this;
    this.held = "";
    return held;
  }

  countHeld(text) {
    const longest = Math.max(0, ...this.stops.map((stop) => stop.length - 1));
    for (let length = Math.min(longest, text.length); length > 0; length--) {
      if (this.stops.some((stop) => stop.startsWith(text.slice(-length)))) return length;
    }
    return 0;
  }
}
