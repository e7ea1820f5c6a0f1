// The settings: a slider each, and the seed.

const SLIDERS = {
  length: { min: 1, max: 1000, step: 1 },
  temperature: { min: 0, max: 2, step: 0.05 },
  top_p: { min: 0.05, max: 1, step: 0.01 },
  top_k: { min: 0, max: 100, step: 1 },
};
const LARGEST_SEED = 2n ** 63n - 1n;

export class SettingsPanel {
  /** `defaults`: the run's values by name; `seed` as digits or null. */
  constructor(element, defaults) {
    this.defaults = { ...defaults, top_k: defaults.top_k ?? 0, seed: defaults.seed ?? "" };
    this.list = element.querySelector("[data-part=sliders]");
    this.seed = element.querySelector("[name=seed]");
    this.list.append(...Object.keys(SLIDERS).map((name) => this.makeRow(name)));
    element.querySelector("[data-part=reset]").addEventListener("click", () => this.reset());
    this.reset();
  }

  makeRow(name) {
    const value = this.defaults[name];
    const { min, max, step } = SLIDERS[name];
    const row = document.createElement("div");
    row.className = "slider";
    const label = document.createElement("label");
    label.htmlFor = `setting-${name}`;
    label.dataset.text = name;
    const slider = document.createElement("input");
    Object.assign(slider, { type: "range", id: label.htmlFor, name, step });
    // A default outside the usual range widens it: it must be reachable.
    slider.min = Math.min(min, value);
    slider.max = Math.max(max, value);
    const steps = (value - slider.min) / step;
    if (Math.abs(steps - Math.round(steps)) > 1e-9) slider.step = "any";
    slider.setAttribute("aria-describedby", `hint-${name}`);
    const output = document.createElement("output");
    output.htmlFor = slider.id;
    const hint = document.createElement("p");
    hint.id = `hint-${name}`;
    hint.dataset.text = `${name}Hint`;
    slider.addEventListener("input", () => (output.value = slider.value));
    row.append(label, output, slider, hint);
    return row;
  }

  reset() {
    for (const slider of this.list.querySelectorAll("input")) {
      slider.value = this.defaults[slider.name];
      slider.labels[0].nextSibling.value = slider.value;
    }
    this.seed.value = this.defaults.seed;
  }

  /** The values for a text; `attempt` counts the versions before it. Null if the seed is no number. */
  read(attempt) {
    const values = {};
    for (const slider of this.list.querySelectorAll("input")) values[slider.name] = Number(slider.value);
    const digits = this.seed.value.trim();
    if (digits === "") return { ...values, seed: null };
    if (!/^\d{1,19}$/.test(digits) || BigInt(digits) > LARGEST_SEED) return null;
    return { ...values, seed: String((BigInt(digits) + BigInt(attempt)) % (LARGEST_SEED + 1n)) };
  }
}
