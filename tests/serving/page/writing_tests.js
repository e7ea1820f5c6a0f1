// Tests of writing: what is undone, and what a continuation that ends leaves alone.

import { createDocument } from "/document.js";
import { Sheet } from "/sheet.js";
import { equal, token } from "/tests/checks.js";
import { Writing } from "/writing.js";

const settled = () => new Promise((resolve) => setTimeout(resolve));

/** Writing of which every continuation is `texts`, and goes on without end. */
function makeWriting(text, texts = []) {
  async function* complete(before, attempt, signal) {
    for (const each of texts) yield { token: token(each) };
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    throw new DOMException("stopped", "AbortError");
  }
  const writing = new Writing({
    doc: createDocument(text),
    complete,
    isHeld: () => writing.isComposing,
    later: (call) => call(),
    clock: () => writing.now,
    on: { change() {}, writing() {}, end() {}, time() {}, selection: () => [0, 0] },
  });
  return Object.assign(writing, { isComposing: false, now: 0 });
}

async function write(writing, position, method = "continueAt") {
  writing[method](position);
  await settled();
}

async function stop(writing) {
  writing.stop();
  await settled();
}

/** A continuation that stopped inside a word, which a person completed. */
async function makeHalfWord() {
  const writing = makeWriting("Once upon a ", ["t", "i"]);
  await write(writing, 12);
  await stop(writing);
  writing.edit({ start: 14, end: 14, inserted: "me" }, 14, 0);
  equal(writing.doc.text, "Once upon a time");
  return writing;
}

export async function testUndoWhileTheModelWritesBringsBackTheText() {
  const writing = await makeHalfWord();
  await write(writing, 16, "retryAt");
  equal(writing.isWriting, true);
  writing.undo(16);
  await settled();
  equal(writing.doc.text, "Once upon a time");
  equal(writing.history.future.length, 1);
}

export async function testTokensThatWaitAreForTheirBranchOnly() {
  const writing = await makeHalfWord();
  writing.isComposing = true;
  await write(writing, 16, "retryAt");
  writing.undo(16);
  writing.isComposing = false;
  writing.flush();
  await settled();
  equal(writing.doc.text, "Once upon a time");
}

export async function testAStopStillSetsOffTheNextWord() {
  const writing = makeWriting("one two", ["and"]);
  await write(writing, 4);
  await stop(writing);
  equal(writing.doc.text, "one and two");
  writing.undo(0);
  equal(writing.doc.text, "one two");
}

/** A text field whose input method composes; `isFirefox`: the text that is chosen comes after its end. */
function makeField(writing, isFirefox) {
  const field = Object.assign(new EventTarget(), { value: "", selectionEnd: 0 });
  const tell = (name) => field.dispatchEvent(new Event(name));
  const put = (value) => Object.assign(field, { value, selectionEnd: value.length });
  new Sheet(field, null, {
    onEdit: (...change) => writing.edit(...change),
    onCaret: () => {},
    onComposed: () => writing.flush(),
  });
  return (before, chosen) => {
    tell("compositionstart");
    for (const shown of ["n", "ni"]) {
      put(before + shown);
      tell("input");
      writing.now += 5000;
    }
    put(before + chosen);
    for (const name of isFirefox ? ["compositionend", "input"] : ["input", "compositionend"]) tell(name);
  };
}

export function testACompositionIsOneStepHoweverLongItTakes() {
  for (const isFirefox of [false, true]) {
    const writing = makeWriting("");
    const compose = makeField(writing, isFirefox);
    compose("", "我");
    compose("我", "你");
    for (const expected of ["我你", "我", ""]) {
      equal(writing.doc.text, expected);
      writing.undo(0);
    }
  }
}

export async function testACompositionIsOneStepWhileAContinuationEnds() {
  const writing = makeWriting("a ", ["b"]);
  await write(writing, 2);
  writing.edit({ start: 0, end: 0, inserted: "ni" }, 0, 1);
  await stop(writing);
  writing.edit({ start: 0, end: 2, inserted: "你" }, 2, 1);
  equal(writing.doc.text, "你a b");
  writing.undo(0);
  equal(writing.doc.text, "a b");
}
