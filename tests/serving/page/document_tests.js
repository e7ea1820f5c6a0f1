// Tests of the text on the sheet and of its history; each runs as a test of pytest's, in the browser.

import {
  appendToken, beginBranch, countCharacters, createDocument, edit, findChange, findExtent,
  findForkFor, findTokenAt, getFork, listBranches, movePosition, openFork, showBranch,
} from "/document.js";
import { amend, commit, createHistory, redo, undo } from "/history.js";
import { equal, token, write, writeAgain } from "/tests/checks.js";

const ranges = (doc) => doc.tokens.map((t) => doc.text.slice(t.start, t.end));

export function testTheModelWritesInTheMiddle() {
  const { doc } = write(createDocument("ab"), 1, "X", "YZ");
  equal(doc.text, "aXYZb");
  equal(ranges(doc), ["X", "YZ"]);
}

export function testTypingBeforeMovesTokensAndForks() {
  const written = write(createDocument("a"), 1, "bc", "d");
  const doc = edit(written.doc, 0, 0, "12");
  equal(doc.text, "12abcd");
  equal(ranges(doc), ["bc", "d"]);
  equal([doc.forks[0].start, doc.forks[0].end], [3, 6]);
}

export function testAnEditedTokenIsThePersons() {
  const { doc } = write(createDocument("a"), 1, "bc", "de", "fg");
  const edited = edit(doc, 3, 4, "X");
  equal(edited.text, "abcXefg");
  equal(ranges(edited), ["bc", "fg"]);
}

export function testTypingAtTheEdgesIsOutsideTheContinuation() {
  const { doc, forkId } = write(createDocument("a"), 1, "bc");
  const edges = edit(edit(doc, 3, 3, "Z"), 1, 1, "A");
  equal(edges.text, "aAbcZ");
  const fork = getFork(edges, forkId);
  equal([fork.start, fork.end], [2, 4]);
}

export function testARetryKeepsTheFirstVersionAndTheTextAfterIt() {
  const first = write(createDocument("ab"), 1, "X");
  const typed = edit(first.doc, 2, 2, "typed");
  const second = writeAgain(typed, first.forkId, 0, "YY");
  equal(second.doc.text, "aYYtypedb");
  const { ids, shown } = listBranches(second.doc, first.forkId);
  equal([ids.length, shown], [2, 1]);
  const back = showBranch(second.doc, first.forkId, ids[0]);
  equal(back.text, "aXtypedb");
  equal(ranges(back), ["X"]);
  equal(showBranch(back, first.forkId, ids[1]).text, "aYYtypedb");
}

export function testAChosenTokenKeepsWhatIsBeforeIt() {
  const first = write(createDocument("a"), 1, "b", "c", "d");
  const chosen = writeAgain(first.doc, first.forkId, 1, "X", "Y");
  equal(chosen.doc.text, "abXY");
  equal(ranges(chosen.doc), ["b", "X", "Y"]);
  const [before] = listBranches(chosen.doc, first.forkId).ids;
  equal(showBranch(chosen.doc, first.forkId, before).text, "abcd");
}

export function testAVersionHoldsWhatWasContinuedFromItsEnd() {
  const first = write(createDocument("a"), 1, "b");
  const longer = write(first.doc, 2, "c");
  equal(findExtent(longer.doc, getFork(longer.doc, first.forkId)), 3);
  const second = writeAgain(longer.doc, first.forkId, 0, "X");
  equal(second.doc.text, "aX");
  const [before] = listBranches(second.doc, first.forkId).ids;
  const back = showBranch(second.doc, first.forkId, before);
  equal(back.text, "abc");
  equal(ranges(back), ["b", "c"]);
  equal(listBranches(back, longer.forkId).ids.length, 1);
}

export function testAContinuationInFrontIsNotPartOfTheOneAfterIt() {
  const last = write(createDocument("a"), 1, "Z");
  const front = write(last.doc, 1, "b");
  equal(front.doc.text, "abZ");
  equal(writeAgain(front.doc, front.forkId, 0, "c").doc.text, "acZ");
  equal(writeAgain(front.doc, last.forkId, 0, "Y").doc.text, "abY");
}

export function testAContinuationInsideAnotherStaysInIt() {
  const outer = write(createDocument(""), 0, "ab", "cd");
  const inner = write(outer.doc, 2, "X");
  equal(inner.doc.text, "abXcd");
  const other = writeAgain(inner.doc, inner.forkId, 0, "YY");
  equal(other.doc.text, "abYYcd");
  const fork = getFork(other.doc, outer.forkId);
  equal([fork.start, fork.end], [0, 6]);
  const again = writeAgain(other.doc, outer.forkId, 0, "Z");
  equal(again.doc.text, "Z");
  const [before] = listBranches(again.doc, outer.forkId).ids;
  equal(showBranch(again.doc, outer.forkId, before).text, "abYYcd");
}

export function testAnEditIsKeptInItsVersion() {
  const first = write(createDocument(""), 0, "abc", "d");
  const edited = edit(first.doc, 1, 2, "X");
  const second = writeAgain(edited, first.forkId, 0, "Y");
  const [before] = listBranches(second.doc, first.forkId).ids;
  equal(showBranch(second.doc, first.forkId, before).text, "aXcd");
}

export function testADeletedContinuationCanBeGoneBackTo() {
  const { doc, forkId } = write(createDocument("a"), 1, "bc");
  const gone = edit(doc, 0, 3, "");
  equal(gone.text, "");
  const { ids, shown } = listBranches(gone, forkId);
  equal([ids.length, shown], [1, -1]);
  equal(showBranch(gone, forkId, ids[0]).text, "bc");
}

export function testATokenForAForkThatIsGoneChangesNothing() {
  const doc = createDocument("a");
  equal(appendToken(doc, 7, token("b")) === doc, true);
}

export function testACarriageReturnIsALineFeed() {
  const { doc } = write(createDocument("a"), 1, "\r", "b\r\n");
  equal([doc.text, ranges(doc)], ["a\nb\n", ["\n", "b\n"]]);
}

export function testTheTokenAtAPosition() {
  const { doc } = write(createDocument("a"), 1, "bc", "d");
  equal([0, 1, 2, 3, 4].map((p) => findTokenAt(doc, p)), [-1, 0, 0, 1, -1]);
}

export function testTheForkForARetry() {
  const first = write(createDocument("a"), 1, "b");
  const typed = edit(first.doc, 2, 2, " typed ");
  const second = write(typed, typed.text.length, "c");
  const at = (position) => findForkFor(second.doc, position).id;
  equal([at(1), at(2), at(10), at(0)], [first.forkId, first.forkId, second.forkId, second.forkId]);
  equal(findForkFor(createDocument("a"), 1), null);
}

export function testAChangeIsFoundByTheCursor() {
  equal(findChange("aa", "aaa", 1), { start: 0, end: 0, inserted: "a" });
  equal(findChange("aa", "aaa", 3), { start: 2, end: 2, inserted: "a" });
  equal(findChange("abc", "ac", 1), { start: 1, end: 2, inserted: "" });
  equal(findChange("abc", "", 0), { start: 0, end: 3, inserted: "" });
  equal(findChange("one two", "one 2", 5), { start: 4, end: 7, inserted: "2" });
}

export function testEveryChangeThatIsFoundGivesTheText() {
  const texts = ["", "a", "ab", "aba", "abab", "bab", "aab"];
  for (const before of texts) {
    for (const after of texts) {
      for (let caret = 0; caret <= after.length; caret += 1) {
        const { start, end, inserted } = findChange(before, after, caret);
        equal(edit(createDocument(before), start, end, inserted).text, after);
      }
    }
  }
}

export function testPositionsMoveWithTheText() {
  equal([0, 1, 2, 3].map((p) => movePosition(p, 1, 2, 3)), [0, 4, 4, 5]);
  equal(movePosition(1, 1, 1, 2), 3);
}

export function testCharactersAreCodePoints() {
  equal(countCharacters("a字😀"), 3);
}

export function testAContinuationIsOneStepAndItsVersionSurvivesUndo() {
  const opened = openFork(createDocument("a"), 1);
  let history = amend(createHistory(createDocument("a")), opened.doc);
  history = commit(history, beginBranch(history.present, opened.forkId), { caret: 1 });
  for (const word of ["b", "c"]) {
    history = amend(history, appendToken(history.present, opened.forkId, token(word)));
  }
  const back = undo(history, 3);
  equal([back.history.present.text, back.caret], ["a", 1]);
  const { ids, shown } = listBranches(back.history.present, opened.forkId);
  equal([ids.length, shown], [1, -1]);
  equal(showBranch(back.history.present, opened.forkId, ids[0]).text, "abc");
  const again = redo(back.history, 1);
  equal([again.history.present.text, again.caret], ["abc", 3]);
  equal(redo(again.history, 3), null);
}

export function testTypingIsOneStepUntilAPause() {
  let history = createHistory(createDocument());
  const type = (at, now) => {
    const doc = edit(history.present, at, at, "x");
    history = commit(history, doc, { caret: at, kind: "type", start: at, end: at + 1, now });
  };
  type(0, 0);
  type(1, 500);
  type(2, 5000);
  equal(history.past.length, 2);
  type(0, 5100); // elsewhere
  equal(history.past.length, 3);
  equal(undo(history, 0).history.present.text, "xxx");
}

export function testUndoOfNothingIsNothing() {
  equal(undo(createHistory(createDocument()), 0), null);
}

export function testAnUndoneEditWhileTheModelWritesLosesNothing() {
  const opened = openFork(createDocument("a"), 1);
  let history = amend(createHistory(createDocument("a")), opened.doc);
  history = commit(history, beginBranch(history.present, opened.forkId), { caret: 1 });
  history = amend(history, appendToken(history.present, opened.forkId, token("b")));
  history = commit(history, edit(history.present, 0, 0, "X"), { caret: 0 });
  history = amend(history, appendToken(history.present, opened.forkId, token("c")));
  const { present } = undo(history, 4).history;
  equal(present.text, "ab");
  const { ids } = listBranches(present, opened.forkId);
  equal(ids.map((id) => showBranch(present, opened.forkId, id).text), ["ab", "abc"]);
}
