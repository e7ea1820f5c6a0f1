// Tests of what else needs no elements of the page: joins, server, drafts, words, figures.

import { showProbability } from "/choices.js";
import { listStages } from "/cycle.js";
import { createDocument } from "/document.js";
import { DraftKeeper, keepDraft, readDraft } from "/drafts.js";
import { nameFile, readTextFile } from "/files.js";
import { doWordsMeet, findSpace, joinParts, makePrompt, spellToken } from "/joins.js";
import { joinTokens, listTokens, readEvents } from "/server.js";
import { addToSeed } from "/settings.js";
import { measureSurprise } from "/sheet.js";
import { findShortcut } from "/shortcuts.js";
import { chooseLanguage, LANGUAGES } from "/strings.js";
import { equal, token, write } from "/tests/checks.js";

export function testTokensGetTheTextThatCameWithThem() {
  const [the, sea] = [token("the"), token(" sea")];
  equal(joinTokens([the], "").pending.length, 1);
  equal(joinTokens([the, sea], "the sea").tokens.map((t) => t.text), ["the", " sea"]);
  const joined = joinTokens([token("bytes:\\xe5"), token("bytes:\\xad\\x97")], "字");
  equal(joined.tokens.map((t) => [t.text, t.logprob]), [["字", -2]]);
  equal(joined.pending, []);
}

export function testTheLegacyListsAreReadTokenByToken() {
  const lists = { tokens: ["a"], token_logprobs: [-0.5], top_logprobs: [{ b: -2, a: -0.5 }] };
  equal(listTokens(lists), [{ text: "a", logprob: -0.5, top: [["a", -0.5], ["b", -2]] }]);
  equal(listTokens(null), []);
}

export function testAWordIsSetOffAsTheTokenizerDoes() {
  const unicode = { level: "word", word_split: "unicode" };
  const whitespace = { level: "word", word_split: "whitespace" };
  equal(findSpace("the", "sea", unicode), " ");
  equal(findSpace("the", ",", unicode), "");
  equal(findSpace("the", ",", whitespace), " ");
  equal(findSpace("the\n", "sea", whitespace), "");
  equal(findSpace("海", "里", unicode), "");
  equal(findSpace("walk", "ing", { level: "subword" }), "");
}

const word = { level: "word", word_split: "unicode", documents: "file", does_eos_end_documents: true };
const char = { ...word, level: "char" };

export function testAPromptIsTheDocumentOfTheCursor() {
  const read = (before, documents) => makePrompt(before, { ...char, documents });
  const text = "one\ntwo\n\nthree\nfour";
  equal(["file", "line", "paragraph", "record"].map((d) => read(text, d)),
    [text, "four", "three\nfour", text]);
  equal([read("", "file"), read("one\n", "line"), read("one\n \n\n", "paragraph")], [null, null, null]);
}

export function testALongPromptIsCutBetweenCharacters() {
  const prompt = makePrompt("😀".repeat(10_001) + "x", char);
  equal([prompt.length, prompt.slice(0, 2)], [19_999, "😀"]);
}

export function testTheSpaceOfTheNextWordIsNotRead() {
  const ends = ["the sea ", "the sea, ", "the sea  ", "海 "];
  equal(ends.map((before) => makePrompt(before, word)), ["the sea", ...ends.slice(1)]);
  equal(makePrompt("the sea ", char), "the sea ");
}

async function join(before, props, ...texts) {
  async function* parts() {
    yield { metrics: {} };
    for (const text of texts) yield { token: token(text) };
  }
  const joined = [];
  for await (const part of joinParts(parts(), before, props)) {
    if (part.token) joined.push(part.token.text);
  }
  return before + joined.join("");
}

export async function testTheFirstWordHasOneSpaceBeforeIt() {
  equal(await join("the sea ", word, " was", " calm"), "the sea was calm");
  equal(await join("the sea", word, " was", " calm"), "the sea was calm");
  equal(await join("the sea ", word, ",", " and"), "the sea , and");
  equal(await join("the sea, ", { ...word, word_split: "whitespace" }, " was", " calm"), "the sea, was calm");
  equal(await join("the sea ", char, " ", "w"), "the sea  w");
}

export function testATokenIsSpelledForItsPlace() {
  equal(spellToken("sea", "the", word), " sea");
  equal(["bytes:\\xe5", "<unk>", "<eos>", "\ufffd"].map((w) => spellToken(w, "the", word)),
    [null, null, null, null]);
  equal(spellToken("<eos>", "the", { ...word, does_eos_end_documents: false }), "\n");
  equal(spellToken("sea", "the", undefined), "sea");
}

export function testWordsMeet() {
  const pairs = [["the", "sea"], ["the ", "sea"], ["the", ", sea"], ["the", ""], ["", "sea"], ["海", "sea"], ["é", "1"]];
  equal(pairs.map((pair) => doWordsMeet(...pair)), [true, false, false, false, false, false, true]);
}

export async function testEventsAreReadAcrossPacketsAndHalfCharacters() {
  const bytes = new TextEncoder().encode(': ping\n\ndata: {"a":"字"}\r\n\r\ndata: [DONE]\n\n');
  const stream = new ReadableStream({
    start(controller) {
      for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
      controller.close();
    },
  });
  const events = [];
  for await (const event of readEvents(stream)) events.push(event);
  equal(events, ['{"a":"字"}', "[DONE]"]);
}

class Storage {
  constructor(room) {
    this.room = room;
    this.items = {};
  }
  getItem(key) {
    return this.items[key] ?? null;
  }
  setItem(key, value) {
    if (value.length > this.room) throw new DOMException("full", "QuotaExceededError");
    this.items[key] = value;
  }
}

export function testADraftComesBackWithItsTokens() {
  const { doc } = write(createDocument("a"), 1, "b");
  const storage = new Storage(10_000);
  equal(keepDraft(storage, doc, true), "kept");
  equal(readDraft(storage), { isSaved: true, doc });
}

export function testADraftThatIsTooLongKeepsItsText() {
  const { doc } = write(createDocument("a"), 1, "b");
  const storage = new Storage(100);
  equal(keepDraft(storage, doc, false), "lean");
  equal(readDraft(storage), { isSaved: false, doc: createDocument("ab") });
  equal(keepDraft(new Storage(10), doc, false), "full");
  equal(keepDraft(null, doc, false), "full");
}

export function testADraftThatCannotBeReadIsNone() {
  const storage = new Storage(1000);
  for (const value of ["{", "null", '{"doc":{"text":3}}', '{"doc":{"text":"a","nextId":1,"forks":[],"tokens":[{"start":0,"end":5,"top":[]}]}}']) {
    storage.items["llm-timecycle.draft"] = value;
    equal(readDraft(storage), null);
  }
  equal(readDraft(null), null);
}

export function testALeavingWindowKeepsOnlyWhatHasChanged() {
  const storage = new Storage(1000);
  const getDoc = () => createDocument("text");
  const keeper = new DraftKeeper(storage, null, { getDoc, say: () => {} });
  const leave = () => window.dispatchEvent(new Event("pagehide"));
  leave();
  equal(readDraft(storage), null);
  keeper.keepSoon();
  leave();
  equal(readDraft(storage), { isSaved: false, doc: getDoc() });
}

export async function testAFileIsReadAsUtf8OrNotAtAll() {
  equal(await readTextFile(new Blob(["a\r\n字"])), "a\n字");
  const wrong = await readTextFile(new Blob([new Uint8Array([0xb0, 0xa1])])).catch(() => "refused");
  equal(wrong, "refused");
}

export function testAFileIsNamedAfterItsFirstWords() {
  equal(nameFile("One morning: a/b\nmore", "text"), "One morning ab.txt");
  equal(nameFile("有一天，老周", "文本"), "有一天老周.txt");
  equal(nameFile("  …", "text"), "text.txt");
}

export function testBothLanguagesSayTheSameThings() {
  equal(Object.keys(LANGUAGES.zh), Object.keys(LANGUAGES.en));
  const holes = (text) => (text.match(/\{\w+\}/g) ?? []).sort();
  for (const key of Object.keys(LANGUAGES.en)) {
    equal([key, holes(LANGUAGES.zh[key])], [key, holes(LANGUAGES.en[key])]);
  }
}

export function testTheFirstLanguageThatIsSpokenIsChosen() {
  equal(chooseLanguage(["fr-FR", "zh-Hant-TW", "en"]), "zh");
  equal(chooseLanguage(["fr"]), "en");
}

export function testEachVersionHasTheNextSeed() {
  equal(addToSeed("7", 2), "9");
  equal(addToSeed("9007199254740993", 1), "9007199254740994"); // 2^53 + 1, which is no float
  equal(addToSeed("9223372036854775807", 2), "1");
  equal(["9223372036854775808", "1e3", "-5"].map((seed) => addToSeed(seed, 1)), ["9223372036854775808", "1e3", "-5"]);
}

export function testSurpriseGrowsWithImprobability() {
  equal([0, -3.55, -20].map((p) => measureSurprise(p).toFixed(6)), ["0.000000", "0.500000", "1.000000"]);
}

export function testTheStagesOfAnAnswerAddUpToItsTime() {
  const metrics = { queue_time_ms: 2, prompt_time_ms: 10, mean_itl_ms: 4 };
  equal(listStages(metrics, 6).map(({ ms }) => ms), [2, 10, 20]);
  equal(listStages({ ...metrics, mean_itl_ms: null }, 1).map(({ ms }) => ms), [2, 10, 0]);
}

export function testProbabilitiesAreShortAndNeverZero() {
  equal([-0.1, -3, -20].map(showProbability), ["90%", "5.0%", "< 0.1%"]);
}

export function testShortcutsOfAllPlatforms() {
  const press = (key, held = {}) => findShortcut({ key, ...held });
  equal([press("Tab"), press("Tab", { shiftKey: true }), press("a")], ["continue", null, null]);
  equal([press("z", { ctrlKey: true }), press("Z", { metaKey: true, shiftKey: true })], ["undo", "redo"]);
  equal([press("y", { ctrlKey: true }), press("Enter", { metaKey: true })], ["redo", "continue"]);
  equal([press("Enter"), press("ArrowUp", { altKey: true }), press("ArrowUp")], [null, "previous", null]);
}
