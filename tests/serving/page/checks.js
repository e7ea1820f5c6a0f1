// What the tests of the modules share.

import { appendToken, beginBranch, keepBranch, openFork } from "/document.js";

export function equal(actual, expected) {
  const [a, b] = [JSON.stringify(actual), JSON.stringify(expected)];
  if (a !== b) throw new Error(`${a} is not ${b}`);
}

export const token = (text) => ({ text, word: text, logprob: -1, top: [[text, -1], ["other", -2]] });

export function write(doc, position, ...words) {
  const opened = openFork(doc, position);
  return writeAgain(opened.doc, opened.forkId, 0, ...words);
}

export function writeAgain(doc, forkId, kept, ...words) {
  const begun = beginBranch(doc, forkId, kept);
  const written = words.reduce((d, word) => appendToken(d, forkId, token(word)), begun);
  return { doc: keepBranch(written, forkId), forkId };
}
