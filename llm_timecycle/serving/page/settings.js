// The settings as sliders, with the defaults of the run.

const SLIDERS = {
  max_tokens: { min: 1, max: 500, step: 1 },
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

/** The run's settings under the names of a request, as {sliders, seed, fields}; fields have no slider. */
export function readDefaults({ seed, ...fields }) {
  const sliders = {};
  for (const name of Object.keys(SLIDERS)) {
    if (name in fields) sliders[name] = fields[name] ?? 0;
    delete fields[name];
  }
  return { sliders, seed: seed ?? null, fields };
}

export class SettingsPanel {
  constructor(element, translate) {
    this.list = element.querySelector("[data-part=sliders]");
    this.seed = element.querySelector("[name=seed]");
    this.translate = translate;
    this.defaults = readDefaults({});
    element.querySelector("[data-part=reset]").addEventListener("click", () => this.reset());
  }

  setDefaults(settings) {
    this.defaults = readDefaults(settings);
    this.list.replaceChildren(...Object.keys(this.defaults.sliders).map((name) => this.makeRow(name)));
    this.reset();
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
    slider.max = Math.max(max, value);
    slider.setAttribute("aria-describedby", `hint-${name}`);
    output.htmlFor = slider.id;
    const hint = document.createElement("p");
    hint.id = `hint-${name}`;
    hint.textContent = this.translate(`${name}Hint`);
    slider.addEventListener("input", () => (output.value = slider.value));
    row.append(label, output, slider, hint);
    return row;
  }

  reset() {
    for (const [name, value] of Object.entries(this.defaults.sliders)) {
      const slider = this.list.querySelector(`[name=${name}]`);
      if (Math.abs((value - slider.min) / slider.step % 1) > 1e-9) slider.step = "any";
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    }
    this.seed.value = this.defaults.seed ?? "";
  }

  /** The fields of a request; `attempt` counts the versions that there are already. */
  read(attempt) {
    const fields = { ...this.defaults.fields };
    for (const slider of this.list.querySelectorAll("input")) fields[slider.name] = Number(slider.value);
    if (fields.top_k === 0) delete fields.top_k;
    fields.seed = this.seed.value === "" ? -1 : Number(this.seed.value) + attempt;
    return fields;
  }
}
