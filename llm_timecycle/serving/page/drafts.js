// The draft that the browser keeps, and text files.

import { createDocument } from "./document.js";

const KEY = "llm-timecycle.draft";

/** Keeps a document: "kept", "lean" if only its text has room, "full" if not even that. */
export function keepDraft(storage, doc) {
  if (store(storage, doc)) return "kept";
  return store(storage, createDocument(doc.text)) ? "lean" : "full";
}

function store(storage, doc) {
  try {
    storage.setItem(KEY, JSON.stringify(doc));
    return true;
  } catch {
    return false; // QuotaExceededError, or a browser that allows no storage
  }
}

/** The document that was kept; null where there is none that can be read. */
export function readDraft(storage) {
  try {
    const doc = JSON.parse(storage.getItem(KEY));
    return isDocument(doc) ? doc : null;
  } catch {
    return null;
  }
}

function isDocument(doc) {
  return (
    typeof doc?.text === "string" && Number.isInteger(doc.nextId) &&
    Array.isArray(doc.forks) && Array.isArray(doc.tokens) &&
    doc.tokens.every((t) => t.start >= 0 && t.end <= doc.text.length && Array.isArray(t.top))
  );
}

/** Hears of changes that another window made to the draft. */
export function watchDraft(onChange) {
  window.addEventListener("storage", (event) => {
    if (event.key === KEY) onChange();
  });
}

/** The text of a file with line breaks as `\n`; throws where it is not UTF-8. */
export async function readTextFile(file) {
  const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
  return text.replace(/\r\n?/g, "\n");
}

/** A file name made from the first words of a text. */
export function nameFile(text, untitled) {
  const words = text.trim().split("\n")[0].replace(/[^\p{L}\p{N} _-]/gu, "").trim();
  return `${[...words].slice(0, 40).join("").trim() || untitled}.txt`;
}

export function downloadText(text, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type: "text/plain;charset=utf-8" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
