// The time that an answer took, stage by stage, and what a token's time is spent on.

/** The stages of an answer in milliseconds, from its `metrics`. */
export function listStages(metrics, tokenCount) {
  const writing = (metrics.mean_itl_ms ?? 0) * Math.max(0, tokenCount - 1);
  return [
    { name: "queue", ms: metrics.queue_time_ms },
    { name: "prompt", ms: metrics.prompt_time_ms },
    { name: "writing", ms: writing },
  ];
}

/** The stages of one token in milliseconds; `step` is the model's own part. */
export function listTokenStages({ stages_ms: stages }) {
  return ["step", "sampling", "text"].map((name) => ({ name, ms: stages[name] }));
}

export function showMilliseconds(ms) {
  if (ms >= 100) return ms.toFixed(0);
  return ms >= 10 ? ms.toFixed(1) : ms.toFixed(2);
}

export class CyclePanel {
  constructor(element, translate) {
    this.answer = element.querySelector("[data-part=answer]");
    this.token = element.querySelector("[data-part=token]");
    this.note = element.querySelector("[data-part=note]");
    this.translate = translate;
    this.note.textContent = translate("cycleNone");
  }

  /** While an answer comes in: what the page itself can see of it. */
  showLive({ startedMs, firstMs, nowMs, tokenCount }) {
    const writing = nowMs - firstMs;
    const stages = [{ name: "firstToken", ms: firstMs - startedMs }, { name: "writing", ms: writing }];
    const rate = tokenCount > 1 && writing > 0 ? (1000 * (tokenCount - 1)) / writing : null;
    this.draw(this.answer, stages, rate === null ? [] : [["rate", this.rate(rate)]]);
    this.token.hidden = true;
  }

  /** When it is complete: what the server measured. */
  showAnswer(metrics, tokenCount) {
    const figures = [["firstToken", this.ms(metrics.time_to_first_token_ms)]];
    if (metrics.mean_itl_ms !== null) figures.push(["perToken", this.ms(metrics.mean_itl_ms)]);
    if (metrics.tokens_per_second !== null) figures.push(["rate", this.rate(metrics.tokens_per_second)]);
    this.draw(this.answer, listStages(metrics, tokenCount), figures);
    this.draw(this.token, listTokenStages(metrics), []);
  }

  ms(value) {
    if (value >= 1000) return this.translate("seconds", { s: (value / 1000).toFixed(2) });
    return this.translate("milliseconds", { ms: showMilliseconds(value) });
  }

  rate(value) {
    return this.translate("rateValue", { rate: value.toFixed(value < 10 ? 1 : 0) });
  }

  draw(element, stages, figures) {
    this.note.hidden = true;
    element.hidden = false;
    const bar = element.querySelector(".stages");
    bar.replaceChildren(
      ...stages.map(({ name, ms }) => {
        const part = document.createElement("span");
        part.className = name;
        part.style.setProperty("--ms", ms.toFixed(4));
        return part;
      }),
    );
    const rows = [...stages.map(({ name, ms }) => [name, this.ms(ms), "swatch"]), ...figures];
    element.querySelector("dl").replaceChildren(
      ...rows.flatMap(([name, value, swatch]) => {
        const term = document.createElement("dt");
        term.className = swatch ? `${swatch} ${name}` : "";
        term.textContent = this.translate(name);
        const definition = document.createElement("dd");
        definition.textContent = value;
        return [term, definition];
      }),
    );
  }
}
