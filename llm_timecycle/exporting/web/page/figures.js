// Times and sizes: the stages of a text as bars, and lists of figures.

/** Shows `rows` of [key, value, swatch] in a list; `say(key)` is the name. */
export function showRows(list, rows, say) {
  list.replaceChildren(
    ...rows.flatMap(([key, value, swatch]) => {
      const term = document.createElement("dt");
      if (swatch) term.className = `swatch ${key}`;
      term.textContent = say(key);
      const definition = document.createElement("dd");
      definition.textContent = value;
      return [term, definition];
    }),
  );
}

function drawStages(element, stages, figures, say) {
  const show = (ms) => showDuration(ms, say);
  element.querySelector(".stages").replaceChildren(
    ...stages.map(([name, ms]) => {
      const part = document.createElement("span");
      part.className = name;
      part.style.setProperty("--ms", ms.toFixed(4));
      return part;
    }),
  );
  const rows = stages.map(([name, ms]) => [name, show(ms), true]);
  showRows(element.querySelector("dl"), [...rows, ...figures], say);
}

function showDuration(ms, say) {
  if (ms >= 1000) return say("seconds", { s: (ms / 1000).toFixed(2) });
  return say("milliseconds", { ms: ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : 2) });
}

/** Tokens/s after the first; null where there is no second one. */
export function computeRate(count, writingMs) {
  return count > 1 && writingMs > 0 ? (1000 * (count - 1)) / writingMs : null;
}

export function showRate(rate, say) {
  return say("rateValue", { rate: rate.toFixed(rate < 10 ? 1 : 0) });
}

/** The times of a text, as the worker's {end} has them. */
export function showTimes(panel, { count, times, firstTokenMs, writingMs, seed }, say) {
  const rate = computeRate(count, writingMs);
  const figures = [["firstToken", showDuration(firstTokenMs, say)]];
  if (rate !== null) {
    figures.push(["perToken", showDuration(1000 / rate, say)], ["rate", showRate(rate, say)]);
  }
  figures.push(["usedSeed", seed]);
  const stages = [["prompt", times.prompt], ["writing", writingMs]];
  drawStages(panel.querySelector("[data-part=answer]"), stages, figures, say);
  const parts = ["model", "sampling", "text"].map((name) => [name, times[name] / count]);
  drawStages(panel.querySelector("[data-part=token]"), parts, [], say);
  for (const part of panel.children) part.hidden = part.dataset.part === "note";
}
