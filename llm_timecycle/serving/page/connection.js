// The server as the page sees it: its models, the one that writes, and the key that may be asked for.

import { keep, recall } from "./drafts.js";
import { getProps, setApiKey } from "./server.js";

const MODEL_KEY = "llm-timecycle.model";

export class Connection {
  /** `onModel(props)` hears which model writes; `say(key, values)` tells the person of trouble. */
  constructor(list, keyForm, storage, { onModel, say }) {
    Object.assign(this, { list, keyForm, storage, onModel, say });
    this.models = [];
    list.addEventListener("change", () => this.choose());
    keyForm.addEventListener("submit", (event) => {
      event.preventDefault();
      setApiKey(keyForm.elements.key.value);
      say("");
      this.connect();
    });
  }

  /** What the server says of the model that writes; undefined before it has been reached. */
  get props() {
    return this.models.find(({ id }) => id === this.list.value);
  }

  async connect() {
    try {
      this.models = await getProps();
    } catch (error) {
      this.report(error);
      return;
    }
    const wanted = this.list.value || recall(this.storage, MODEL_KEY);
    this.list.replaceChildren(...this.models.map(({ id }) => new Option(id)));
    if (this.models.some(({ id }) => id === wanted)) this.list.value = wanted;
    this.keyForm.hidden = true;
    this.choose();
  }

  choose() {
    keep(this.storage, MODEL_KEY, this.list.value);
    this.onModel(this.props);
  }

  /** Says what went wrong with a request, and asks for what would mend it. */
  report(error) {
    if (error.status === 401) this.askForKey();
    else if (error.status !== undefined && error.message) this.say("refused", { message: error.message });
    else this.say("lost");
    // Another server is there, with other models.
    if (error.code === "model_not_found") this.connect();
  }

  askForKey() {
    const { key } = this.keyForm.elements;
    this.keyForm.hidden = false;
    this.say(key.value === "" ? "keyNeeded" : "keyWrong");
    key.select();
  }
}
