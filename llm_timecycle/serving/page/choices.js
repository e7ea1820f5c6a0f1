// The panel with what the model could have written instead of one token.

/** A token as text that can be seen: spaces and line breaks as signs. */
export function makeVisible(word) {
  return word.replace(/\n/g, "↵").replace(/\t/g, "⇥").replace(/^ | $/g, "␣") || "␣";
}

export function showProbability(logprob) {
  const percent = 100 * Math.exp(logprob);
  if (percent >= 10) return `${percent.toFixed(0)}%`;
  return percent >= 0.1 ? `${percent.toFixed(1)}%` : "< 0.1%";
}

export class ChoicesPanel {
  /**
   * `spell(word, token)` is the text of a word in place of a token, null where it has none;
   * `onChoose(word, logprob)`, `onStep(-1 or 1)` and `onLeave()` hear of the person's keys.
   */
  constructor(element, translate, { spell, onChoose, onStep, onLeave }) {
    this.title = element.querySelector("[data-part=title]");
    this.list = element.querySelector("[data-part=list]");
    this.element = element;
    this.translate = translate;
    this.spell = spell;
    this.onChoose = onChoose;
    this.token = undefined;
    this.list.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      const move = { ArrowUp: -1, ArrowDown: 1 }[event.key];
      if (step) onStep(step);
      else if (move) this.move(move);
      else if (event.key === "Escape") onLeave();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
  }

  get hasFocus() {
    return this.list.contains(document.activeElement);
  }

  /** `token` null: there is nothing to choose at the cursor; `isUsed` says that there is elsewhere. */
  show(token, isUsed) {
    this.element.toggleAttribute("data-unused", !isUsed);
    if (token === this.token) return;
    this.token = token;
    this.element.toggleAttribute("data-empty", token === null);
    const hadFocus = this.hasFocus;
    this.title.textContent = token
      ? this.translate("choicesAt", { token: makeVisible(token.word) })
      : this.translate("choicesNone");
    this.list.replaceChildren(...(token ? token.top.map((entry) => this.makeRow(entry, token)) : []));
    if (hadFocus) this.focus();
  }

  makeRow([word, logprob], token) {
    const button = document.createElement("button");
    button.type = "button";
    const text = this.spell(word, token);
    button.disabled = text === null;
    const isChosen = word === token.word;
    if (isChosen) button.setAttribute("aria-current", "true");
    const label = document.createElement("span");
    label.className = "word";
    label.textContent = text === null ? this.name(word) : makeVisible(text === "\n" ? text : word);
    const bar = document.createElement("span");
    bar.className = "bar";
    bar.style.setProperty("--share", Math.exp(logprob).toFixed(4));
    const share = document.createElement("span");
    share.className = "share";
    share.textContent = showProbability(logprob);
    button.append(label, bar, share);
    button.addEventListener("click", () => this.onChoose(word, logprob));
    const item = document.createElement("li");
    item.append(button);
    return item;
  }

  name(word) {
    if (word === "<eos>") return this.translate("choicesEnd");
    if (word === "<unk>") return this.translate("choicesUnknown");
    return makeVisible(word);
  }

  /** The keyboard goes to the list; false where it has nothing. */
  focus() {
    const button =
      this.list.querySelector("[aria-current]:not(:disabled)") ??
      this.list.querySelector("button:not(:disabled)");
    button?.focus();
    return Boolean(button);
  }

  move(step) {
    const buttons = [...this.list.querySelectorAll("button:not(:disabled)")];
    const index = buttons.indexOf(document.activeElement) + step;
    buttons[Math.min(buttons.length - 1, Math.max(0, index))]?.focus();
  }
}
