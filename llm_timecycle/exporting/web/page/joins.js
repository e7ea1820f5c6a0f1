// What the model reads of the text on the sheet, and how its own text meets it.
//
// `facts`: see `tokenizer.js` of the worker.

const WORD_END = /(?![\p{sc=Han}\p{sc=Hira}\p{sc=Kana}])[\p{L}\p{M}\p{N}_] $/u;
const SEPARATORS = { line: "\n", paragraph: "\n\n" };

/** What begins the next document after one that has ended; "" where documents are not in a row. */
export function findSeparator({ documents, eos_ends_documents: doesEosEnd }) {
  return doesEosEnd ? (SEPARATORS[documents] ?? "") : "";
}

// A tokenizer of words puts the space in front of a word itself, so that one that is there already
// is not read as a token, nor written twice.
function endsInSpaceOfNextWord(text, { level, splits_at_whitespace: splitsAtWhitespace }) {
  if (level !== "word") return false;
  return splitsAtWhitespace ? /\s$/.test(text) : WORD_END.test(text.slice(-3));
}

/** The prompt for what follows `text`: the last document of it. A model never read two in a row. */
export function makePrompt(text, facts) {
  let prompt = text;
  if (facts.documents === "line") prompt = text.slice(text.lastIndexOf("\n") + 1);
  if (facts.documents === "paragraph") prompt = text.split(/\n[^\S\n]*\n/).at(-1).replace(/^\n+/, "");
  return endsInSpaceOfNextWord(prompt, facts) ? prompt.replace(/ $/, "") : prompt;
}

/** The first piece after `text`, without a space that is there already. */
export function joinPiece(text, piece, facts) {
  return endsInSpaceOfNextWord(text, facts) ? piece.replace(/^ /, "") : piece;
}
