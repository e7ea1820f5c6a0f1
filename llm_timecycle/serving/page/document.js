// The text on the sheet: pure functions on plain values, without the browser.
//
// A document is {text, tokens, forks, nextId}; every function returns a new one.
//
//   token   what the model wrote: {start, end, word, logprob, top}; `top` is [[word, logprob], ...],
//           likeliest first. `word` is the token without a space that joins it to others. Text that a person wrote has no tokens.
//   fork    a place where the model went on: {id, parent, start, end, current, branches}. It shows
//           one branch, `current`, in [start, end). `parent` is the fork at whose end it began.
//   branch  one continuation: {id, slice}. `slice` is the text as it was when it was last complete,
//           with its tokens and forks, relative to the start of the fork.
//
// Positions count UTF-16 units, as strings and text fields do.

export function createDocument(text = "") {
  return { text, tokens: [], forks: [], nextId: 1 };
}

/** Replaces [start, end) by what a person wrote. */
export function edit(doc, start, end, inserted) {
  const delta = inserted.length - (end - start);
  const tokens = [];
  for (const token of doc.tokens) {
    if (token.end <= start) tokens.push(token);
    else if (token.start >= end) tokens.push(moveRange(token, delta));
  }
  const forks = doc.forks.map((fork) => editFork(fork, start, end, inserted.length));
  const text = doc.text.slice(0, start) + inserted + doc.text.slice(end);
  return { ...doc, text, tokens, forks };
}

function moveRange(range, delta) {
  return delta === 0 ? range : { ...range, start: range.start + delta, end: range.end + delta };
}

// What is written at either edge of a fork is outside it. A fork whose text is deleted stays, empty:
// its branches can be gone back to.
function editFork(fork, start, end, added) {
  const delta = added - (end - start);
  const isEmpty = fork.start === fork.end;
  if (fork.end < start || (fork.end === start && (isEmpty || fork.start < start))) return fork;
  if (fork.start >= end) return moveRange(fork, delta);
  if (start <= fork.start && fork.end <= end) return { ...fork, start, end: start };
  if (fork.start < start) return { ...fork, end: fork.end <= end ? start : fork.end + delta };
  return { ...fork, start: start + added, end: fork.end + delta };
}

/** Where the text that hangs on a fork ends: its own, and what was continued from its end. */
export function findExtent(doc, fork) {
  let end = fork.end;
  let parent = fork.id;
  for (;;) {
    const child = doc.forks.find((f) => f.parent === parent && f.start === end && f.end > end);
    if (!child) return end;
    end = child.end;
    parent = child.id;
  }
}

// Of two forks with the same range, the later one is inside the earlier one.
function isInside(inner, outer, end) {
  if (inner.id === outer.id || inner.start < outer.start || inner.end > end) return false;
  return inner.start > outer.start || inner.end < end || inner.id > outer.id;
}

function cut(doc, fork, end) {
  const { start } = fork;
  const back = (range) => moveRange(range, -start);
  return {
    text: doc.text.slice(start, end),
    tokens: doc.tokens.filter((t) => t.start >= start && t.end <= end).map(back),
    forks: doc.forks.filter((f) => isInside(f, fork, end)).map(back),
    ownLength: Math.min(fork.end, end) - start,
  };
}

/** Keeps what a fork shows now in its branch, so that it can be gone back to. */
export function keepBranch(doc, forkId) {
  const fork = getFork(doc, forkId);
  if (!fork || fork.current === null || fork.start === fork.end) return doc;
  const slice = cut(doc, fork, findExtent(doc, fork));
  const branches = fork.branches.filter((branch) => branch.id !== fork.current);
  branches.push({ id: fork.current, slice });
  branches.sort((a, b) => a.id - b.id);
  return replaceFork(doc, { ...fork, branches });
}

function replaceFork(doc, fork) {
  return { ...doc, forks: doc.forks.map((f) => (f.id === fork.id ? fork : f)) };
}

export function getFork(doc, forkId) {
  return doc.forks.find((fork) => fork.id === forkId);
}

// Another fork, where all that hangs on `fork` up to `end` was replaced by `delta` characters more.
function fitAround(other, fork, end, ownEnd, delta) {
  const isBefore = other.end <= fork.start && other.start < fork.start;
  if (isBefore) return other;
  if (other.start >= end) return moveRange(other, delta);
  return { ...other, end: other.end >= end ? other.end + delta : ownEnd };
}

// Shows `slice` in place of everything that hangs on the fork.
function show(doc, fork, slice, current) {
  const { start } = fork;
  const end = findExtent(doc, fork);
  const delta = slice.text.length - (end - start);
  const forward = (range) => moveRange(range, start);
  const tokens = doc.tokens
    .filter((t) => t.end <= start)
    .concat(slice.tokens.map(forward))
    .concat(doc.tokens.filter((t) => t.start >= end).map((t) => moveRange(t, delta)));
  const forks = [];
  for (const other of doc.forks) {
    if (other.id === fork.id) {
      forks.push({ ...fork, end: start + slice.ownLength, current });
    } else if (!isInside(other, fork, end)) {
      forks.push(fitAround(other, fork, end, start + slice.ownLength, delta));
    }
  }
  forks.push(...slice.forks.map(forward));
  return { ...doc, text: doc.text.slice(0, start) + slice.text + doc.text.slice(end), tokens, forks };
}

/** Makes the fork at `position` ready, for text that the model is about to write there. */
export function openFork(doc, position) {
  const empty = doc.forks.findLast((f) => f.start === position && f.end === position);
  if (empty) return { doc, forkId: empty.id };
  const before = doc.forks.findLast((f) => f.end === position);
  const parent = before ? before.id : null;
  const fork = { id: doc.nextId, parent, start: position, end: position, current: null, branches: [] };
  return { doc: { ...doc, forks: [...doc.forks, fork], nextId: doc.nextId + 1 }, forkId: fork.id };
}

/** A new branch of a fork, which keeps the first `kept` characters of the one that is shown. */
export function beginBranch(doc, forkId, kept = 0) {
  const saved = keepBranch(doc, forkId);
  const fork = getFork(saved, forkId);
  const slice = cut(saved, fork, fork.start + kept);
  const next = show(saved, fork, slice, saved.nextId);
  return { ...next, nextId: saved.nextId + 1 };
}

/**
 * Adds a token of the model at the end of a fork; the same document where the fork is gone.
 *
 * A text field holds line feeds only, so a carriage return becomes one.
 */
export function appendToken(doc, forkId, { text: written, word, logprob, top }) {
  const text = written.replace(/\r\n?/g, "\n");
  const fork = getFork(doc, forkId);
  if (!fork || text === "") return doc;
  const at = fork.end;
  const moved = edit(doc, at, at, text);
  const token = { start: at, end: at + text.length, word, logprob, top };
  const index = moved.tokens.findIndex((t) => t.start >= at);
  const tokens = [...moved.tokens];
  tokens.splice(index < 0 ? tokens.length : index, 0, token);
  return replaceFork({ ...moved, tokens }, { ...fork, end: at + text.length });
}

/** The branches of a fork that have text, with the one that is shown: {ids, shown}; -1 for none. */
export function listBranches(doc, forkId) {
  const fork = getFork(doc, forkId);
  if (!fork) return { ids: [], shown: -1 };
  const ids = new Set(fork.branches.map((branch) => branch.id));
  const isShown = fork.current !== null && fork.start < fork.end;
  if (isShown) ids.add(fork.current);
  const sorted = [...ids].sort((a, b) => a - b);
  return { ids: sorted, shown: isShown ? sorted.indexOf(fork.current) : -1 };
}

/** Goes back to a branch; the one that was shown is kept. */
export function showBranch(doc, forkId, branchId) {
  const saved = keepBranch(doc, forkId);
  const fork = getFork(saved, forkId);
  const branch = fork.branches.find((b) => b.id === branchId);
  return show(saved, fork, branch.slice, branchId);
}

export function findTokenAt(doc, position) {
  let low = 0;
  let high = doc.tokens.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (doc.tokens[middle].end <= position) low = middle + 1;
    else high = middle;
  }
  const token = doc.tokens[low];
  return token && token.start <= position ? low : -1;
}

/** The innermost fork that has `position` inside. */
export function findForkAround(doc, position) {
  let found = null;
  for (const fork of doc.forks) {
    if (fork.start > position || fork.end <= position) continue;
    if (!found || fork.end - fork.start <= found.end - found.start) found = fork;
  }
  return found;
}

/** The fork that "another continuation" is about: at the cursor, else the latest. */
export function findForkFor(doc, position) {
  const around = findForkAround(doc, position);
  if (around) return around;
  const touching = doc.forks.findLast((f) => f.end === position && hasText(f));
  if (touching) return touching;
  const shown = doc.forks.filter((fork) => fork.start < fork.end);
  return shown.reduce((a, b) => (a && a.id > b.id ? a : b), null);
}

function hasText(fork) {
  return fork.start < fork.end || fork.branches.length > 0;
}

/** The change from `before` to `after`, with the cursor behind what was inserted. */
export function findChange(before, after, caret) {
  const tail = Math.min(after.length - caret, before.length);
  let fromEnd = 0;
  while (fromEnd < tail && before.at(-1 - fromEnd) === after.at(-1 - fromEnd)) fromEnd += 1;
  const limit = Math.min(before.length, after.length) - fromEnd;
  let start = 0;
  while (start < limit && before[start] === after[start]) start += 1;
  return { start, end: before.length - fromEnd, inserted: after.slice(start, after.length - fromEnd) };
}

/** Where a position is after [start, end) became `added` characters. */
export function movePosition(position, start, end, added) {
  if (position < start) return position;
  return position >= end ? position + added - (end - start) : start + added;
}

/** The characters of a text, as people count them in its script: code points. */
export function countCharacters(text) {
  let count = 0;
  for (const _ of text) count += 1;
  return count;
}
