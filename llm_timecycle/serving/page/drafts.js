// The draft that the browser keeps, and what else it remembers of this page.

import { createDocument } from "./document.js";

const KEY = "llm-timecycle.draft";
const PAUSE_MS = 300;

/** The browser's storage for this page; null where a person has turned it off. */
export function openStorage() {
  try {
    return window.localStorage;
  } catch {
    return null; // SecurityError
  }
}

/** Keeps a value under a name, true; false where there is no room. */
export function keep(storage, name, value) {
  try {
    storage.setItem(name, value);
    return true;
  } catch {
    return false; // QuotaExceededError, or no storage
  }
}

export function recall(storage, name) {
  return storage?.getItem(name) ?? null;
}

/**
 * Keeps a document, and whether its text is in a file: "kept", "lean" if only its text has room,
 * "full" if not even that.
 */
export function keepDraft(storage, doc, isSaved) {
  if (keep(storage, KEY, JSON.stringify({ isSaved, doc }))) return "kept";
  const text = createDocument(doc.text);
  return keep(storage, KEY, JSON.stringify({ isSaved, doc: text })) ? "lean" : "full";
}

/** {isSaved, doc} as they were kept; null where there is nothing that can be read. */
export function readDraft(storage) {
  try {
    const draft = JSON.parse(recall(storage, KEY));
    return isDocument(draft?.doc) ? draft : null;
  } catch {
    return null;
  }
}

function isDocument(doc) {
  return (
    typeof doc?.text === "string" && Number.isInteger(doc.nextId) &&
    Array.isArray(doc.forks) && Array.isArray(doc.tokens) &&
    doc.tokens.every((t) => t.start >= 0 && t.end <= doc.text.length && Array.isArray(t.top)) &&
    doc.forks.every((f) => f.start >= 0 && f.end <= doc.text.length && Array.isArray(f.branches))
  );
}

/** Keeps the draft while it changes, and knows whether its text is in a file. */
export class DraftKeeper {
  /** `getDoc()` is the document as it is now; `say(key)` hears where it is not kept as it should be. */
  constructor(storage, draft, { getDoc, say }) {
    Object.assign(this, { storage, getDoc, say });
    this.savedText = draft?.isSaved ? draft.doc.text : "";
    this.outcome = "kept";
    this.timer = null;
    // Only what is not kept yet: an idle window would replace what another has written since.
    window.addEventListener("pagehide", () => {
      if (this.timer !== null) this.keep();
    });
    window.addEventListener("beforeunload", (event) => {
      if (this.getDoc().text !== "" && !this.isSaved()) event.preventDefault();
    });
    window.addEventListener("storage", (event) => {
      if (event.key === KEY) say("draftElsewhere");
    });
  }

  isSaved() {
    return this.getDoc().text === this.savedText;
  }

  /** Hears that a text is in a file. */
  markSaved(text) {
    this.savedText = text;
    this.keepSoon();
  }

  keepSoon() {
    this.timer ??= setTimeout(() => this.keep(), PAUSE_MS);
  }

  keep() {
    clearTimeout(this.timer);
    this.timer = null;
    const outcome = keepDraft(this.storage, this.getDoc(), this.isSaved());
    if (outcome === "full") this.say("draftFull");
    if (outcome === "lean" && this.outcome !== "lean") this.say("draftLean");
    this.outcome = outcome;
  }
}
