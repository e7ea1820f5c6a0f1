// The sheet: the text, and behind it a copy that marks what the model wrote.

export class Sheet {
  /** `onEdit()` hears that a person changed the text. */
  constructor(field, mirror, onEdit) {
    Object.assign(this, { field, mirror });
    this.written = []; // [start, end] of each text by the model
    this.shown = field.value;
    field.addEventListener("input", () => {
      this.keepWrittenBefore(findDifference(this.shown, field.value));
      this.draw();
      onEdit();
    });
    this.draw();
  }

  get text() {
    return this.field.value;
  }

  /** The state, for `restore`. */
  save() {
    return { text: this.text, written: this.written.map((range) => [...range]) };
  }

  restore({ text, written }) {
    this.field.value = text;
    this.written = written.map((range) => [...range]);
    this.draw();
  }

  /** Adds to the end, as the model's text or not. */
  append(piece, isWritten) {
    const start = this.text.length;
    this.field.value += piece;
    if (isWritten) {
      const last = this.written.at(-1);
      if (last?.[1] === start) last[1] = this.text.length;
      else this.written.push([start, this.text.length]);
    }
    this.draw();
  }

  keepWrittenBefore(position) {
    this.written = this.written
      .filter(([start]) => start < position)
      .map(([start, end]) => [start, Math.min(end, position)]);
  }

  draw() {
    const { text } = this;
    const nodes = [];
    let end = 0;
    for (const [from, to] of this.written) {
      const mark = document.createElement("span");
      mark.className = "written";
      mark.textContent = text.slice(from, to);
      nodes.push(text.slice(end, from), mark);
      end = to;
    }
    // The last line break would have no height without something after it.
    this.mirror.replaceChildren(...nodes, text.slice(end), document.createElement("br"));
    this.shown = text;
  }

  /** Scrolls so that the end of the text is above the buttons, if it was in sight or just below. */
  follow(margin) {
    const hidden = this.mirror.lastChild.getBoundingClientRect().bottom + 40 - (innerHeight - margin);
    if (hidden > 0 && hidden < innerHeight) scrollBy(0, hidden);
  }
}

function findDifference(before, after) {
  let position = 0;
  while (position < before.length && before[position] === after[position]) position += 1;
  return position;
}
