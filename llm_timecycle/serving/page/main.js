// The page: its parts, its keys, and what connects them.

import { ChoicesPanel } from "./choices.js";
import { Connection } from "./connection.js";
import { CyclePanel } from "./cycle.js";
import { countCharacters, createDocument, findForkFor, findTokenAt, listBranches } from "./document.js";
import { DraftKeeper, keep, openStorage, readDraft, recall } from "./drafts.js";
import { downloadText, nameFile, readTextFile } from "./files.js";
import { joinParts, makePrompt, spellToken } from "./joins.js";
import { countTokens, streamCompletion } from "./server.js";
import { SettingsPanel } from "./settings.js";
import { findShortcut } from "./shortcuts.js";
import { Sheet } from "./sheet.js";
import { chooseLanguage, makeTranslate } from "./strings.js";
import { Writing } from "./writing.js";

const COUNT_PAUSE_MS = 500;
const SHADE_KEY = "llm-timecycle.shade";
const TROUBLES = new Set(["lost", "refused", "keyNeeded", "keyWrong", "notText", "draftFull"]);

const language = chooseLanguage(navigator.languages);
const translate = makeTranslate(language);
const find = (selector) => document.querySelector(selector);
const field = find("textarea");
const buttons = Object.fromEntries(
  [...document.querySelectorAll("[data-action]")].map((button) => [button.dataset.action, button]),
);
const shade = find("[name=shade]");
const storage = openStorage();
const draft = readDraft(storage);
let isTabFree = false;

translatePage();

const sheet = new Sheet(field, find(".mirror"), {
  onEdit: (change, caretBefore, composition) => writing.edit(change, caretBefore, composition),
  onCaret: () => showCaret(),
  onComposed: () => writing.flush(),
});
const settings = new SettingsPanel(find("#settings"), translate, storage);
const cycle = new CyclePanel(find("#cycle"), translate);
const connection = new Connection(find("[name=model]"), find("[data-part=key]"), storage, {
  onModel: showModel,
  say,
});
const choices = new ChoicesPanel(find("#choices"), translate, {
  spell: (word, token) => spellToken(word, writing.doc.text.slice(0, token.start), connection.props),
  onChoose: choose,
  onStep: stepToken,
  onLeave: () => field.focus(),
});
const writing = new Writing({
  doc: draft?.doc ?? createDocument(),
  complete,
  isHeld: () => sheet.isComposing,
  // A tab in the background is not drawn.
  later: (call) => (document.hidden ? setTimeout(call, 100) : requestAnimationFrame(call)),
  clock: () => performance.now(),
  on: {
    change: (doc, selection) => {
      showDocument(doc, selection);
      keeper.keepSoon();
    },
    writing: showWriting,
    end: showOutcome,
    time: (times) => cycle.showLive(times),
    selection: () => [field.selectionStart, field.selectionEnd],
  },
});

const keeper = new DraftKeeper(storage, draft, { getDoc: () => writing.doc, say });

function translatePage() {
  document.documentElement.lang = language;
  document.title = translate("title");
  for (const node of document.querySelectorAll("[data-text]")) {
    node.textContent = translate(node.dataset.text);
  }
  for (const node of document.querySelectorAll("[data-label]")) {
    node.setAttribute("aria-label", translate(node.dataset.label));
    if (node.tagName === "BUTTON") node.title = translate(node.dataset.label);
  }
  for (const node of document.querySelectorAll("[data-placeholder]")) {
    node.placeholder = translate(node.dataset.placeholder);
  }
}

function say(key, values) {
  const status = find("#status");
  status.textContent = key ? translate(key, values) : "";
  status.toggleAttribute("data-trouble", TROUBLES.has(key));
}

// What is shown.

function showDocument(doc, selection) {
  sheet.render(doc, looks(doc), selection);
  if (writing.isWriting) sheet.scrollToCaret(find(".dock").offsetHeight);
  showCaret();
  countSoon();
  const count = countCharacters(doc.text).toLocaleString(language);
  find("[data-part=characters]").textContent = translate("characters", { count });
}

function looks(doc) {
  return { isShaded: shade.checked, activeToken: writing.isWriting ? -1 : findActive(doc) };
}

function findActive(doc) {
  const at = findTokenAt(doc, field.selectionEnd);
  if (at >= 0) return at;
  return doc.tokens.findIndex((token) => token.end === field.selectionEnd);
}

function showCaret() {
  if (writing.isWriting) return;
  const { doc } = writing;
  const active = findActive(doc);
  sheet.show(doc, looks(doc));
  choices.show(doc.tokens[active] ?? null, doc.tokens.length > 0);
  showButtons();
}

function showButtons() {
  const { history, doc } = writing;
  const fork = findForkFor(doc, sheet.caret);
  const { ids, shown } = fork ? listBranches(doc, fork.id) : { ids: [], shown: -1 };
  const isIdle = !writing.isWriting;
  allow("undo", history.past.length > 0);
  allow("redo", history.future.length > 0);
  allow("retry", isIdle && fork !== null);
  allow("previous", isIdle && ids.length > 0 && shown !== 0);
  allow("next", isIdle && ids.length > 0 && shown !== ids.length - 1);
  find(".versions").hidden = ids.length === 0 || (ids.length === 1 && shown === 0);
  const version = find("[data-part=version]");
  version.value = ids.length > 0 ? `${shown < 0 ? "–" : shown + 1}/${ids.length}` : "";
  version.setAttribute("aria-label", translate("version", { shown: shown + 1, count: ids.length }));
}

function allow(action, isAllowed) {
  buttons[action].setAttribute("aria-disabled", String(!isAllowed));
}

function showWriting(isWriting) {
  const [shown, hidden] = isWriting
    ? [buttons.stop, buttons.continue]
    : [buttons.continue, buttons.stop];
  const hadFocus = document.activeElement === hidden;
  shown.hidden = false;
  hidden.hidden = true;
  if (hadFocus) shown.focus();
  if (isWriting) {
    say("writingNow");
    choices.show(null, true); // what it lists may be on its way out
  }
  showButtons();
}

function showOutcome({ reason, metrics, error, count }) {
  if (metrics && metrics.time_to_first_token_ms !== null) cycle.showAnswer(metrics, count);
  countNow();
  if (reason === "lost") connection.report(error ?? {});
  else if (reason === "stopped") say("finishedStop");
  else if (reason === "length" && count > 0) say("finishedLength");
  else sayEnd(count);
}

// A model of paragraphs ends each of them: whoever wants another has to begin one.
function sayEnd(count) {
  const place = { line: "onNewLine", paragraph: "afterEmptyLine" }[connection.props?.documents];
  if (place) say(count > 0 ? "finishedParagraph" : "wroteNoMore", { place: translate(place) });
  else say(count > 0 ? "finishedEnd" : "wroteNothing");
}

let countTimer = null;

function countSoon() {
  if (!writing.isWriting) countTimer ??= setTimeout(countNow, COUNT_PAUSE_MS);
}

async function countNow() {
  const { text } = writing.doc;
  const output = find("[data-part=tokens]");
  try {
    const count = text === "" ? 0 : await countTokens(connection.props.id, text);
    output.textContent = translate("tokens", { count: count.toLocaleString(language) });
  } catch {
    output.textContent = ""; // no server, no count; the next request says why
  }
  countTimer = null;
  if (text !== writing.doc.text) countSoon();
}

// What a person does.

const actions = {
  continue: () => whenReady(() => writing.continueAt(sheet.caret)),
  stop: () => writing.stop(),
  retry: () => whenReady(() => writing.retryAt(sheet.caret)),
  previous: () => writing.turnVersion(sheet.caret, -1),
  next: () => writing.turnVersion(sheet.caret, 1),
  undo: () => writing.undo(sheet.caret),
  redo: () => writing.redo(sheet.caret),
  open: () => find("[name=file]").click(),
  save,
};

for (const [name, button] of Object.entries(buttons)) {
  button.addEventListener("click", () => {
    if (button.getAttribute("aria-disabled") !== "true") actions[name]();
  });
}

field.addEventListener("keydown", (event) => {
  // While an input method is composing, every key is for it.
  if (event.isComposing || event.keyCode === 229) return;
  const wasTabFree = isTabFree;
  isTabFree = event.key === "Escape" && !writing.isWriting;
  if (event.key === "Tab" && wasTabFree) return;
  if (event.key === "F2") {
    if (choices.focus()) event.preventDefault();
    return;
  }
  if (event.key.startsWith("Arrow")) showChoices();
  const action = findShortcut(event);
  if (action === null) return;
  event.preventDefault();
  if (buttons[action].getAttribute("aria-disabled") !== "true") actions[action]();
});
// Whoever goes to a word wants to see its choices, not the settings further down.
function showChoices() {
  find(".side").scrollTop = 0;
}

field.addEventListener("click", showChoices);
field.addEventListener("blur", () => (isTabFree = false));
field.addEventListener("beforeinput", (event) => {
  if (event.inputType === "historyUndo" || event.inputType === "historyRedo") {
    event.preventDefault();
    actions[event.inputType === "historyUndo" ? "undo" : "redo"]();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !event.isComposing && writing.isWriting) writing.stop();
});
shade.addEventListener("change", () => {
  keep(storage, SHADE_KEY, String(shade.checked));
  showCaret();
});

function choose(word, logprob) {
  const { token } = choices;
  field.focus();
  whenReady(() => {
    const before = writing.doc.text.slice(0, token.start);
    const text = spellToken(word, before, connection.props);
    if (text === null) return;
    writing.choose(token, { text, word, logprob, top: token.top }, sheet.caret);
  });
}

// The server may have come up after the page.
async function whenReady(write) {
  if (!connection.props) await connection.connect();
  if (connection.props) write();
}

function stepToken(step) {
  const { tokens } = writing.doc;
  const index = findActive(writing.doc) + step;
  if (!tokens[index]) return;
  field.setSelectionRange(tokens[index].start, tokens[index].start);
  showCaret();
}

find("[name=file]").addEventListener("change", async (event) => {
  const [file] = event.target.files;
  event.target.value = "";
  try {
    const text = await readTextFile(file);
    writing.replaceAll(text, sheet.caret);
    keeper.markSaved(text);
    say("opened", { name: file.name });
  } catch {
    say("notText", { name: file.name });
  }
});

function save() {
  const { text } = writing.doc;
  const name = nameFile(text, translate("untitled"));
  downloadText(text, name);
  keeper.markSaved(text);
  say("saved", { name });
}

// The server.

function complete(before, attempt, signal) {
  const { props } = connection;
  const prompt = makePrompt(before, props);
  const parts = streamCompletion({ ...settings.read(attempt), model: props.id, prompt }, signal);
  return joinParts(parts, before, props);
}

function showModel(props) {
  settings.setDefaults(props.id, { ...props.generation, seed: props.seed_digits }, props.limits);
  choices.show(null, false); // how a word is spelled, and whether it can be, depends on the model
  showCaret();
  countSoon();
}

new ResizeObserver(([entry]) => {
  const { blockSize } = entry.borderBoxSize[0];
  document.documentElement.style.setProperty("--dock", `${blockSize}px`);
}).observe(find(".dock"));

shade.checked = recall(storage, SHADE_KEY) === "true";
const end = writing.doc.text.length;
showDocument(writing.doc, [end, end]);
if (writing.doc.text !== "") say("restored");
connection.connect();
