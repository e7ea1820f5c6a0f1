// Undo and redo over documents, pure like document.js.
//
// A step is one edit, a run of typing, or one whole continuation. Going back never loses a
// branch: what a fork had in the document that is left is added to the one that comes back.

import { keepBranch } from "./document.js";

const LONGEST = 300;
const TYPING_PAUSE_MS = 1000;
/** How a kind of step begins that is one composition of an input method, however long it takes. */
export const COMPOSITION = "composition";

export function createHistory(doc) {
  return { past: [], present: doc, future: [], last: null };
}

/**
 * A new document, as a step that can be undone.
 *
 * `caret` is where the cursor was before. Steps of the same `kind` become one where each begins
 * at the `end` of the one before, within a second of it; `kind` null stands alone.
 */
export function commit(history, doc, { caret, kind = null, start = 0, end = 0, now = 0 }) {
  const { last } = history;
  const joins =
    kind !== null && last !== null && last.kind === kind && last.end === start &&
    now - last.now < TYPING_PAUSE_MS && history.future.length === 0;
  const past = joins ? history.past : [...history.past, { doc: history.present, caret }];
  return { past: past.slice(-LONGEST), present: doc, future: [], last: { kind, end, now } };
}

/** A new document within the present step: a token of a continuation. A composition goes on after it. */
export function amend(history, doc) {
  const last = history.last?.kind?.startsWith(COMPOSITION) ? history.last : null;
  return { ...history, present: doc, last };
}

export function undo(history, caret) {
  if (history.past.length === 0) return null;
  const step = history.past.at(-1);
  const left = keepAll(history.present);
  const present = bringBranches(step.doc, left);
  const future = [...history.future, { doc: left, caret }];
  return { history: { past: history.past.slice(0, -1), present, future, last: null }, caret: step.caret };
}

export function redo(history, caret) {
  if (history.future.length === 0) return null;
  const step = history.future.at(-1);
  const left = keepAll(history.present);
  const present = bringBranches(step.doc, left);
  const past = [...history.past, { doc: left, caret }];
  return { history: { past, present, future: history.future.slice(0, -1), last: null }, caret: step.caret };
}

function keepAll(doc) {
  return doc.forks.reduce((kept, fork) => keepBranch(kept, fork.id), doc);
}

function bringBranches(doc, left) {
  let nextId = Math.max(doc.nextId, left.nextId);
  const forks = doc.forks.map((fork) => {
    const other = left.forks.find((f) => f.id === fork.id);
    if (!other) return fork;
    const known = new Set(fork.branches.map((branch) => branch.id));
    const added = [];
    for (const branch of other.branches) {
      if (known.has(branch.id)) continue;
      // The sheet shows it as it was before it was complete: both are kept.
      const isShown = branch.id === fork.current && fork.start < fork.end;
      added.push(isShown ? { ...branch, id: nextId++ } : branch);
    }
    if (added.length === 0) return fork;
    return { ...fork, branches: [...fork.branches, ...added].sort((a, b) => a.id - b.id) };
  });
  return { ...doc, forks, nextId };
}
