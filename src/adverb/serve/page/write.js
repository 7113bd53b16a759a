// The panel of a model that writes: new texts by seed and temperature.

import {ask, curl} from "./api.js";
import {debounced, field, h, rangeField, seedField} from "./dom.js";

export function writePanel(model) {
  let writing;
  const again = debounced(write, 200);
  const [seed, seedPlace] = seedField(again, write);
  const count = h("select", {id: "count", onchange: write}, [5, 10, 20, 50].map((n) => h("option", {selected: n === 10}, n)));
  const [temperature, temperaturePlace] = rangeField("temperature", "Temperature", "Below 1: more typical, less varied", {min: 0.3, max: 1.5}, again);
  const list = h("ol", {class: "card lines", "aria-label": "Texts", "aria-live": "polite", hidden: true});
  const error = h("p", {class: "error", hidden: true});
  const shell = h("pre", {});

  async function write() {
    again.cancel();
    writing?.abort();
    const mine = (writing = new AbortController());
    const body = {model: model.name, n: Number(count.value), seed: Number(seed.value || 0), temperature: Number(temperature.value)};
    shell.textContent = curl("/write", body);
    list.setAttribute("aria-busy", "true");
    try {
      const {texts} = await ask("/write", body, mine.signal);
      list.replaceChildren(...texts.map((text) => h("li", {}, text || h("span", {class: "dim"}, "nothing"))));
      list.hidden = false;
      error.hidden = true;
    } catch (problem) {
      if (problem.name === "AbortError") return;
      error.textContent = problem.message;
      error.hidden = false;
    }
    list.removeAttribute("aria-busy");
  }

  write();
  return [
    h("form", {onsubmit: (event) => { event.preventDefault(); write(); }},
      h("div", {class: "fields"}, seedPlace, field("count", "How many", count), temperaturePlace)),
    error, list,
    h("details", {}, h("summary", {}, "As a request"), shell),
  ];
}
