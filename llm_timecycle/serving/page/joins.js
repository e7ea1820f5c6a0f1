// What the model reads, and how its text meets the writer's: documents, spaces, ends of lines.
//
// `props` is what the server says of a model: {level, word_split, documents, does_eos_end_documents}.

const EOS = "<eos>";
// In characters: what is further back takes time to read, and an LSTM has long forgotten it.
const LONGEST_PROMPT = 20_000;

// A word, but for Chinese characters and Kana, which are joined without spaces.
const WORD_START = /^(?![\p{sc=Han}\p{sc=Hira}\p{sc=Kana}])[\p{L}\p{N}_]/u;
const WORD_END = /(?![\p{sc=Han}\p{sc=Hira}\p{sc=Kana}])[\p{L}\p{M}\p{N}_]$/u;
const UNWRITABLE = /^(bytes:|<unk>$|<eos>$)|\ufffd/;

/** The document that the text before the cursor ends in; a model has never read two in a row. */
function findDocument(before, { documents }) {
  if (documents === "line") return before.slice(before.lastIndexOf("\n") + 1);
  if (documents === "paragraph") return before.split(/\n[^\S\n]*\n/).at(-1).replace(/^\n+/, "");
  return before;
}

// A tokenizer of words puts the space in front of a word itself: one that is there already is not
// read as a token, nor written twice.
function endsInSpaceOfNextWord(before, { level, word_split }) {
  if (level !== "word") return false;
  if (word_split === "whitespace") return /\s$/.test(before);
  return before.endsWith(" ") && WORD_END.test(before.slice(-3, -1));
}

/** The `prompt` of a request for what follows `before`; null begins a document. */
export function makePrompt(before, props) {
  let text = findDocument(before, props).slice(-LONGEST_PROMPT);
  if (endsInSpaceOfNextWord(text, props)) text = text.replace(/ $/, "");
  text = text.replace(/^[\udc00-\udfff]/, ""); // the other half of a character that was cut
  return text === "" ? null : text;
}

/** The parts of a completion after `before`, its first word without a space too many. */
export async function* joinParts(parts, before, props) {
  let isDone = !endsInSpaceOfNextWord(before, props);
  for await (const part of parts) {
    if (isDone || !part.token) {
      yield part;
    } else {
      isDone = true;
      yield { ...part, token: { ...part.token, text: part.token.text.replace(/^ /, "") } };
    }
  }
}

/** The space that a tokenizer of words puts before `word`, after the text `before`. */
export function findSpace(before, word, { level, word_split }) {
  if (level !== "word" || before === "" || /\s$/.test(before) || /^\s/.test(word)) return "";
  if (word_split === "whitespace") return " ";
  return doWordsMeet(before, word) ? " " : "";
}

/** The text of the token `word` after `before`; null if it has none that can be put down. */
export function spellToken(word, before, props) {
  if (word === EOS && props && !props.does_eos_end_documents) return "\n";
  if (UNWRITABLE.test(word)) return null;
  return props ? findSpace(before, word, props) + word : word;
}

/** Whether a word goes on from the end of `before` into `after`. */
export function doWordsMeet(before, after) {
  return WORD_END.test(before.slice(-2)) && WORD_START.test(after);
}
