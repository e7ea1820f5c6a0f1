// Writing with the model: each continuation, and what is undone and redone. No elements of the page.

import {
  appendToken, beginBranch, createDocument, edit, findForkAround, findForkFor, getFork, keepBranch, listBranches,
  movePosition, openFork, showBranch,
} from "./document.js";
import { amend, commit, COMPOSITION, createHistory, redo, undo } from "./history.js";
import { doWordsMeet } from "./joins.js";

export class Writing {
  /**
   * `complete(before, attempt, signal)` gives the parts of a continuation of the text `before`, of which
   * there are `attempt` already; `isHeld()` says that the text may not change now, because an input method is composing;
   * `later(call)` calls when the screen is drawn next.
   * `on` hears: `change(doc, selection)`, `writing(isWriting)`, `end(outcome)`, `time(times)`; it is
   * asked for the `selection()`.
   */
  constructor({ doc, complete, isHeld, later, clock, on }) {
    this.history = createHistory(doc);
    Object.assign(this, { complete, isHeld, later, clock, on });
    this.controller = null;
    this.held = [];
  }

  get doc() {
    return this.history.present;
  }

  get isWriting() {
    return this.controller !== null;
  }

  /** What a person wrote; `composition` is the number of that of an input method, 0 for none. */
  edit({ start, end, inserted }, caretBefore, composition) {
    const isBreak = inserted.includes("\n") || inserted.length > 1;
    const typed = {
      kind: isBreak ? null : inserted === "" ? "delete" : "type",
      start: inserted === "" ? end : start,
      end: start + inserted.length,
      now: this.clock(),
    };
    this.history = commit(this.history, edit(this.doc, start, end, inserted), {
      caret: caretBefore,
      ...(composition ? { kind: `${COMPOSITION} ${composition}` } : typed),
    });
    this.on.change(this.doc, null);
  }

  /** Another text in place of all, as one step. */
  replaceAll(text, caret) {
    this.stop();
    this.history = commit(this.history, { ...createDocument(text), nextId: this.doc.nextId }, { caret });
    this.moveTo(0);
  }

  continueAt(position) {
    if (this.isWriting) return undefined;
    const before = this.history;
    const { doc, forkId } = openFork(this.doc, position);
    this.history = amend(this.history, doc);
    return this.begin(forkId, 0, position, before);
  }

  /** Another continuation in place of the one at the cursor, which is kept. */
  retryAt(position) {
    if (this.isWriting) return undefined;
    const fork = findForkFor(this.doc, position);
    if (!fork) return this.continueAt(position);
    return this.begin(fork.id, 0, position, this.history);
  }

  /** `word` in place of a token, and on from there. */
  choose(token, entry, position) {
    this.stop();
    const before = this.history;
    let fork = findForkAround(this.doc, token.start);
    if (!fork) {
      const opened = openFork(this.doc, token.start);
      this.history = amend(this.history, opened.doc);
      fork = getFork(this.doc, opened.forkId);
    }
    return this.begin(fork.id, token.start - fork.start, position, before, entry);
  }

  async begin(forkId, kept, position, last, entry = null) {
    const attempt = listBranches(this.doc, forkId).ids.length;
    const shown = getFork(this.doc, forkId).current;
    this.history = commit(this.history, beginBranch(this.doc, forkId, kept), { caret: position });
    const { end, current: branch } = getFork(this.doc, forkId);
    const isInWord = this.doWordsMeetAt(end);
    const controller = new AbortController();
    const run = { forkId, branch, controller, count: 0, startedMs: this.clock(), firstMs: null };
    this.moveTo(end);
    if (entry) this.append([[run, entry]]);
    const started = this.doc;
    this.controller = controller;
    this.on.writing(true);
    const before = this.doc.text.slice(0, getFork(this.doc, forkId).end);
    const outcome = await this.follow(run, this.complete(before, attempt, controller.signal));
    if (this.controller === controller) this.controller = null;
    this.flush();
    if (isShown(this.doc, run)) {
      if (run.count === 0 && !entry) this.withdraw(forkId, shown, { started, last, position });
      else this.settle(forkId, isInWord);
    }
    if (this.isWriting) return; // another continuation has begun meanwhile
    this.on.writing(false);
    this.on.change(this.doc, null);
    this.on.end({ ...outcome, count: run.count });
  }

  async follow(run, parts) {
    const outcome = { reason: "lost", metrics: null, error: null };
    try {
      for await (const part of parts) {
        if (run.controller.signal.aborted) return { ...outcome, reason: "stopped" };
        if (part.metrics) outcome.metrics = part.metrics;
        if (part.finishReason) outcome.reason = part.finishReason;
        if (part.token) this.take(run, part.token);
      }
    } catch (error) {
      if (run.controller.signal.aborted) outcome.reason = "stopped";
      else if (outcome.reason === "lost") outcome.error = error;
    }
    return outcome;
  }

  // Tokens are put down together, once for each picture that the screen shows.
  take(run, token) {
    run.count += 1;
    run.firstMs ??= this.clock();
    this.times = { startedMs: run.startedMs, firstMs: run.firstMs, tokenCount: run.count };
    this.held.push([run, token]);
    if (this.held.length === 1) this.later(() => this.flush());
  }

  /** Puts down what has come, but not while an input method is composing. */
  flush() {
    if (this.isHeld() || this.held.length === 0) return;
    const held = this.held;
    this.held = [];
    this.append(held);
    this.on.time({ ...this.times, nowMs: this.clock() });
  }

  append(tokens) {
    let { doc } = this;
    let selection = this.on.selection();
    for (const [run, token] of tokens) {
      if (!isShown(doc, run)) continue;
      const at = getFork(doc, run.forkId).end;
      const lengthBefore = doc.text.length;
      doc = appendToken(doc, run.forkId, token);
      const added = doc.text.length - lengthBefore;
      selection = selection.map((p) => movePosition(p, at, at, added));
    }
    this.history = amend(this.history, doc);
    this.on.change(doc, selection);
  }

  // A space keeps what was written apart from a word behind it. It is not part of the continuation,
  // so the cursor stays in front of it, and every version has it.
  settle(forkId, isInWord) {
    const { end } = getFork(this.doc, forkId);
    const hasGap = !isInWord && this.doWordsMeetAt(end);
    const doc = hasGap ? edit(this.doc, end, end, " ") : this.doc;
    this.history = amend(this.history, keepBranch(doc, forkId));
  }

  doWordsMeetAt(position) {
    return doWordsMeet(this.doc.text.slice(0, position), this.doc.text.slice(position));
  }

  // Nothing came: the sheet is as it was, and there is no step to undo.
  withdraw(forkId, shown, { started, last, position }) {
    if (this.doc === started) {
      this.history = last;
      this.moveTo(position);
    } else if (listBranches(this.doc, forkId).ids.includes(shown)) {
      this.history = amend(this.history, showBranch(this.doc, forkId, shown));
    }
  }

  stop() {
    this.controller?.abort();
    this.controller = null;
    this.flush();
    this.on.writing(false);
  }

  undo(caret) {
    this.travel(undo(this.leave(), caret));
  }

  redo(caret) {
    this.travel(redo(this.leave(), caret));
  }

  leave() {
    this.stop();
    return this.history;
  }

  travel(step) {
    if (!step) return;
    this.history = step.history;
    this.moveTo(Math.min(step.caret, this.doc.text.length));
  }

  /** The version `step` further on, of the continuation at the cursor. */
  turnVersion(position, step) {
    if (this.isWriting) return;
    const fork = findForkFor(this.doc, position);
    if (!fork) return;
    const { ids, shown } = listBranches(this.doc, fork.id);
    const next = ids[shown < 0 ? (step < 0 ? ids.length - 1 : 0) : shown + step];
    if (next === undefined) return;
    this.history = commit(this.history, showBranch(this.doc, fork.id, next), { caret: position });
    this.moveTo(getFork(this.doc, fork.id).end);
  }

  moveTo(position) {
    this.on.change(this.doc, [position, position]);
  }
}

// Undo, redo or another file may have brought a document that does not show what a run writes.
function isShown(doc, { forkId, branch }) {
  return getFork(doc, forkId)?.current === branch;
}
