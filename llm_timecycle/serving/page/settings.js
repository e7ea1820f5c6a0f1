// The settings as sliders, with the defaults of the run; what is changed is remembered for each model.

import { keep, recall } from "./drafts.js";

const KEY = "llm-timecycle.settings";
const LARGEST_SEED = 2n ** 63n - 1n;

const SLIDERS = {
  max_tokens: { min: 1, max: 1000, step: 1 },
  temperature: { min: 0, max: 2, step: 0.05 },
  top_p: { min: 0.05, max: 1, step: 0.01 },
  top_k: { min: 0, max: 100, step: 1 },
  min_p: { min: 0, max: 0.5, step: 0.01 },
  typical_p: { min: 0.05, max: 1, step: 0.01 },
  repetition_penalty: { min: 1, max: 2, step: 0.01 },
  presence_penalty: { min: -2, max: 2, step: 0.1 },
  frequency_penalty: { min: -2, max: 2, step: 0.1 },
  dry_multiplier: { min: 0, max: 2, step: 0.1 },
};

/** The seed of a version, as digits. What is no seed stays as it is: the server says what it expects. */
export function addToSeed(digits, attempt) {
  if (!/^\d{1,19}$/.test(digits) || BigInt(digits) > LARGEST_SEED) return digits;
  return String((BigInt(digits) + BigInt(attempt)) % (LARGEST_SEED + 1n));
}

/**
 * The run's settings under the names of a request, as {sliders, seed, fields}; fields have no slider.
 * `seed` is digits: a number above 2^53 would be rounded.
 */
export function readDefaults({ seed, ...fields }) {
  const sliders = {};
  for (const name of Object.keys(SLIDERS)) {
    if (name in fields) sliders[name] = fields[name] ?? 0;
    delete fields[name];
  }
  return { sliders, seed: seed ?? null, fields };
}

export class SettingsPanel {
  constructor(element, translate, storage) {
    this.list = element.querySelector("[data-part=sliders]");
    this.seed = element.querySelector("[name=seed]");
    Object.assign(this, { translate, storage, model: null, changed: {}, limits: {} });
    this.defaults = readDefaults({});
    element.addEventListener("input", ({ target }) => {
      this.remember({ ...this.changed, [target.name]: target.value });
    });
    element.querySelector("[data-part=reset]").addEventListener("click", () => {
      this.remember({});
      this.show();
    });
  }

  /** The settings of another model, but for what was changed before; `limits` by name are the server's. */
  setDefaults(model, settings, limits) {
    this.model = model;
    this.limits = limits;
    this.defaults = readDefaults(settings);
    this.changed = this.recallAll()[model] ?? {};
    this.list.replaceChildren(...Object.keys(this.defaults.sliders).map((name) => this.makeRow(name)));
    this.show();
  }

  recallAll() {
    try {
      return JSON.parse(recall(this.storage, KEY)) ?? {};
    } catch {
      return {};
    }
  }

  remember(changed) {
    this.changed = changed;
    keep(this.storage, KEY, JSON.stringify({ ...this.recallAll(), [this.model]: changed }));
  }

  makeRow(name) {
    const { min, max, step } = SLIDERS[name];
    const value = this.defaults.sliders[name];
    const row = document.createElement("div");
    row.className = "slider";
    const label = document.createElement("label");
    label.htmlFor = `setting-${name}`;
    label.textContent = this.translate(name);
    const output = document.createElement("output");
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", id: `setting-${name}`, name, step });
    // A default of the run outside the usual range widens it: it must be reachable.
    slider.min = Math.min(min, value);
    slider.max = Math.min(Math.max(max, value), this.limits[name] ?? Infinity);
    const steps = (value - slider.min) / step;
    if (Math.abs(steps - Math.round(steps)) > 1e-9) slider.step = "any";
    slider.setAttribute("aria-describedby", `hint-${name}`);
    output.htmlFor = slider.id;
    const hint = document.createElement("p");
    hint.id = `hint-${name}`;
    hint.textContent = this.translate(`${name}Hint`);
    slider.addEventListener("input", () => (output.value = slider.value));
    row.append(label, output, slider, hint);
    return row;
  }

  show() {
    for (const slider of this.list.querySelectorAll("input")) {
      slider.value = this.changed[slider.name] ?? this.defaults.sliders[slider.name];
      slider.labels[0].nextSibling.value = slider.value;
    }
    this.seed.value = this.changed.seed ?? this.defaults.seed ?? "";
  }

  /** The fields of a request; `attempt` counts the versions that there are already. */
  read(attempt) {
    const fields = { ...this.defaults.fields };
    for (const slider of this.list.querySelectorAll("input")) fields[slider.name] = Number(slider.value);
    if (fields.top_k === 0) delete fields.top_k;
    fields.seed = this.seed.value === "" ? -1 : addToSeed(this.seed.value, attempt);
    return fields;
  }
}
