// The sheet: a text field to write in, and behind it a copy that carries the shading.

import { findChange } from "./document.js";

const SURE_NATS = 0.1;
const UNLIKELY_NATS = 7;

/** From 0, expected, to 1, a surprise: linear in -log p. */
export function measureSurprise(logprob) {
  const nats = -logprob;
  return Math.min(1, Math.max(0, (nats - SURE_NATS) / (UNLIKELY_NATS - SURE_NATS)));
}

/** The text cut where its looks change: [{text, surprise, isActive}]. */
export function makePieces(doc, { isShaded, activeToken }) {
  const pieces = [];
  let at = 0;
  const add = (end, surprise, isActive) => {
    if (end > at) pieces.push({ text: doc.text.slice(at, end), surprise, isActive });
    at = end;
  };
  doc.tokens.forEach((token, i) => {
    const isActive = i === activeToken;
    if (!isActive && (!isShaded || token.logprob === null)) return;
    add(token.start, null, false);
    add(token.end, isShaded && token.logprob !== null ? measureSurprise(token.logprob) : null, isActive);
  });
  add(doc.text.length, null, false);
  return pieces;
}

export class Sheet {
  /** `onEdit({start, end, inserted}, caretBefore, composition)` hears of typing, `onCaret()` of the cursor. */
  constructor(field, mirror, { onEdit, onCaret, onComposed }) {
    this.field = field;
    this.mirror = mirror;
    this.isComposing = false;
    this.compositions = 0;
    this.pieces = [];
    this.text = "";
    this.lastCaret = 0;
    field.addEventListener("compositionstart", () => {
      this.isComposing = true;
      this.compositions += 1;
    });
    field.addEventListener("compositionend", () => {
      this.hear(onEdit); // Firefox tells of the text that was chosen after this
      this.isComposing = false;
      onComposed();
    });
    field.addEventListener("input", () => this.hear(onEdit));
    document.addEventListener("selectionchange", () => {
      if (document.activeElement !== field) return;
      this.lastCaret = field.selectionEnd;
      onCaret();
    });
  }

  get caret() {
    return this.field.selectionEnd;
  }

  hear(onEdit) {
    const { value, selectionEnd } = this.field;
    if (value === this.text) return;
    const change = findChange(this.text, value, selectionEnd);
    const caretBefore = this.lastCaret;
    this.text = value;
    this.lastCaret = selectionEnd;
    onEdit(change, caretBefore, this.isComposing ? this.compositions : 0);
  }

  /** Shows a document, with the cursor at `selection`; null leaves it where it is. */
  render(doc, looks, selection) {
    if (doc.text !== this.field.value) {
      const { selectionStart, selectionEnd, scrollTop } = this.field;
      this.field.value = doc.text;
      this.field.setSelectionRange(selectionStart, selectionEnd);
      this.field.scrollTop = scrollTop;
    }
    this.text = doc.text;
    if (selection) this.field.setSelectionRange(...selection);
    this.lastCaret = this.field.selectionEnd;
    this.show(doc, looks);
  }

  // Only what differs is replaced: a long text gains a token without being built again.
  show(doc, looks) {
    const pieces = makePieces(doc, looks);
    const same = (a, b) => a.text === b.text && a.surprise === b.surprise && a.isActive === b.isActive;
    const limit = Math.min(pieces.length, this.pieces.length);
    let head = 0;
    while (head < limit && same(pieces[head], this.pieces[head])) head += 1;
    let tail = 0;
    while (tail < limit - head && same(pieces.at(-1 - tail), this.pieces.at(-1 - tail))) tail += 1;
    const old = [...this.mirror.childNodes].slice(head, this.pieces.length - tail);
    const before = this.mirror.childNodes[this.pieces.length - tail] ?? this.mirror.lastChild;
    const added = pieces.slice(head, pieces.length - tail).map(makeNode);
    for (const node of old) node.remove();
    for (const node of added) this.mirror.insertBefore(node, before);
    this.pieces = pieces;
  }

  /** Scrolls so far that the line of the cursor is above what covers the lower `margin` pixels. */
  scrollToCaret(margin) {
    let rest = this.field.selectionEnd;
    for (const node of this.mirror.childNodes) {
      const { length } = node.textContent;
      if (rest > length) {
        rest -= length;
        continue;
      }
      const range = document.createRange();
      if (node.firstChild) range.setStart(node.firstChild, rest);
      else range.setStartBefore(node);
      const hidden = range.getBoundingClientRect().bottom + 32 - (window.innerHeight - margin);
      if (hidden > 0) window.scrollBy(0, hidden);
      return;
    }
  }
}

function makeNode({ text, surprise, isActive }) {
  const node = document.createElement("span");
  node.textContent = text;
  if (surprise !== null) {
    node.className = "shaded";
    node.style.setProperty("--surprise", surprise.toFixed(3));
  }
  if (isActive) node.classList.add("active");
  return node;
}
