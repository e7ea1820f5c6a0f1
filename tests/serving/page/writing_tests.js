// Tests of writing: what is undone, and what a continuation that ends leaves alone.

import { createDocument } from "/document.js";
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
