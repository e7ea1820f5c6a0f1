// The page: the sheet, the buttons, and the thread that writes.

import { computeRate, showRate, showRows, showTimes } from "./figures.js";
import { findSeparator, joinPiece, makePrompt } from "./joins.js";
import { SettingsPanel } from "./settings.js";
import { Sheet } from "./sheet.js";
import { chooseLanguage, translate } from "./strings.js";

const find = (selector) => document.querySelector(selector);
const model = JSON.parse(find("#model").textContent);
const facts = model.tokenizer;

let language = chooseLanguage(navigator.languages);
let status = ["loading", {}];
let isTrouble = false;
let lastEnd = null; // the times that are shown
let state = "loading"; // loading, ready, writing, broken
let before = null; // the sheet before the last text, for undo and retry
let attempt = 0;
let position = null; // {text, canResume, isEnded} where the model got to; null once that changed
let join = (piece) => piece;

const say = (key, values) => translate(language, key, values);
const buttons = Object.fromEntries(
  [...document.querySelectorAll("[data-action]")].map((button) => [button.dataset.action, button]),
);
const settings = new SettingsPanel(find("#settings"), model.sampling);
const sheet = new Sheet(find("textarea"), find(".mirror"), () => {
  before = null;
  attempt = 0;
  showState();
});
let worker = null;

function startWorker() {
  const source = new Blob([find("#worker").textContent], { type: "text/javascript" });
  const started = new Worker(URL.createObjectURL(source));
  const base64 = find("#weights");
  started.onmessage = ({ data }) => hear(data);
  started.onerror = (event) => fail(event.message);
  started.postMessage({ kind: "load", model, weights: base64.textContent.trim() });
  base64.remove(); // the worker has them now
  return started;
}

function hear(message) {
  if (message.kind === "ready") {
    state = "ready";
    report("ready");
  } else if (message.kind === "text") {
    addText(message);
  } else if (message.kind === "end") {
    finish(message);
  } else {
    fail(message.message);
  }
}

function fail(message) {
  if (state === "writing") {
    state = "ready";
    sheet.field.readOnly = false;
    position = null;
    report(message === "logits" ? "badLogits" : "tooOld", { message }, true);
  } else {
    state = "broken";
    report("tooOld", { message }, true);
  }
}

function report(key, values = {}, trouble = false) {
  status = [key, values];
  isTrouble = trouble;
  showState();
}

/** Lets the model go on at the end of the text. */
function write() {
  if (state !== "ready") return;
  if (/\p{Surrogate}/u.test(sheet.text)) return report("notUnicode", {}, true);
  const values = settings.read(attempt);
  if (values === null) return report("badSeed", {}, true);
  const isUnchanged = position?.text === sheet.text;
  before = sheet.save();
  if (isUnchanged && position.isEnded) sheet.append(findSeparator(facts), false);
  const text = sheet.text;
  join = (piece) => {
    if (piece !== "") join = (each) => each;
    return joinPiece(text, piece, facts);
  };
  const resumes = isUnchanged && position.canResume;
  state = "writing";
  sheet.field.readOnly = true;
  find("[data-part=tokens]").textContent = "";
  report("reading");
  worker.postMessage({ kind: "write", prompt: makePrompt(text, facts), resumes, ...values });
}

function addText({ piece, count, elapsedMs }) {
  if (status[0] === "reading") report("writingNow");
  sheet.append(join(piece), true);
  sheet.follow(find(".dock").offsetHeight);
  const rate = computeRate(count, elapsedMs);
  const figures = [say("tokens", { count }), ...(rate === null ? [] : [showRate(rate, say)])];
  find("[data-part=tokens]").textContent = figures.join(" · ");
}

function finish(end) {
  state = "ready";
  sheet.field.readOnly = false;
  const isEnded = end.reason === "end_of_text";
  position = { text: sheet.text, canResume: end.canResume, isEnded };
  const finished = {
    length: "finishedLength",
    stopped: "finishedStop",
    stop: "finishedStopText",
    end_of_text: findSeparator(facts) ? "finishedParagraph" : "finishedEnd",
  };
  const wroteNothing = isEnded && sheet.text === before.text;
  const key = wroteNothing ? "wroteNothing" : finished[end.reason];
  if (end.count > 0) {
    lastEnd = end;
    showTimes(find("#time"), end, say);
  }
  report(key, { unknown: end.unknown });
}

/** The text before the last continuation; whether there was one. */
function goBack() {
  if (state !== "ready" || before === null) return false;
  sheet.restore(before);
  before = null;
  position = null;
  return true;
}

const actions = {
  continue() {
    attempt = 0;
    write();
  },
  stop() {
    if (state === "writing") worker.postMessage({ kind: "stop" });
  },
  retry() {
    if (!goBack()) return;
    attempt += 1;
    write();
  },
  undo() {
    if (!goBack()) return;
    attempt = 0;
    report("ready");
  },
};

/** Says everything in the language that is chosen. */
function showWords() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = say("title", { name: model.name });
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = say(element.dataset.text, { name: model.name });
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", say(element.dataset.label));
  }
  for (const element of document.querySelectorAll("[data-placeholder]")) {
    element.placeholder = say(element.dataset.placeholder);
  }
  showModel();
  if (lastEnd) showTimes(find("#time"), lastEnd, say);
  showState();
}

function showState() {
  const isWriting = state === "writing";
  buttons.continue.hidden = isWriting;
  buttons.stop.hidden = !isWriting;
  buttons.continue.disabled = state !== "ready";
  buttons.retry.disabled = buttons.undo.disabled = state !== "ready" || before === null;
  const [key, values] = status;
  const unknown = values.unknown ? ` ${say("unknown", { count: values.unknown })}` : "";
  const said = say(key, values) + unknown;
  const line = find("#status");
  if (line.textContent !== said) line.textContent = said; // or it would be read aloud once more
  line.toggleAttribute("data-trouble", isTrouble);
}

function showModel() {
  const number = (value) => value.toLocaleString(language === "zh" ? "zh-CN" : "en");
  const { residual, units } = model.network;
  const size = say("fileValue", { megabytes: (model.bytes / 1e6).toFixed(1) });
  find("[data-part=summary]").textContent = say("summary", { count: number(model.parameters), size });
  showRows(
    find("#about dl"),
    [
      ["weights", number(model.parameters)],
      ["precision", model.precision],
      ["file", size],
      ["network", say("networkValue", { layers: residual.length, units: number(units) })],
      ["vocabulary", say(facts.level, { count: number(facts.tokens.length) })],
    ],
    say,
  );
  const others = find("[data-part=others]");
  others.hidden = model.others.length === 0;
  const list = model.others.map(([name, value]) => `${name} ${JSON.stringify(value)}`);
  others.textContent = say("others", { list: list.join(", ") });
}

for (const [name, button] of Object.entries(buttons)) {
  button.addEventListener("click", () => actions[name]());
}
document.addEventListener("keydown", (event) => {
  if (event.isComposing) return;
  if (event.key === "Escape") actions.stop();
  else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    if (state === "ready") actions.continue();
  }
});
find("[name=language]").value = language;
find("[name=language]").addEventListener("change", ({ target }) => {
  language = target.value;
  showWords();
});
find("[name=theme]").addEventListener("change", ({ target }) => {
  document.documentElement.dataset.theme = target.value;
});
showWords();
try {
  worker = startWorker();
} catch (error) {
  fail(error.message);
}
