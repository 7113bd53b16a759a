// What all panels of readers share: fields that answer while one types, examples, the request itself.

import {ask, curl} from "./api.js";
import {debounced, h} from "./dom.js";

/**
 * A form above its answer.
 *
 * fields: [{name, label, value, rows, long, tag}], texts of the request. request(values) -> {path, body}, or null while
 * something is missing. show(answer, values) -> elements. examples: [{name: value, …}]. tools: buttons beside them.
 */
export function panel({fields, request, show, examples = [], tools = () => []}) {
  const inputs = {};
  const result = h("div", {class: "card result", "aria-live": "polite", hidden: true});
  const shell = h("pre", {});
  const details = h("details", {hidden: true}, h("summary", {}, "As a request"), shell);
  let running;

  async function run() {
    soon.cancel();
    running?.abort();
    const values = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
    const wanted = request(values);
    details.hidden = wanted === null;
    if (wanted === null) {
      result.hidden = true;
      return;
    }
    const mine = (running = new AbortController());
    result.setAttribute("aria-busy", "true");
    try {
      const answer = await ask(wanted.path, wanted.body, mine.signal);
      if (!mine.signal.aborted) result.replaceChildren(...show(answer, values, mine.signal));
    } catch (error) {
      if (error.name === "AbortError") return;
      result.replaceChildren(h("p", {class: "error"}, error.message));
    }
    result.hidden = false;
    result.removeAttribute("aria-busy");
    shell.textContent = curl(wanted.path, wanted.body);
  }

  const soon = debounced(run);
  const set = (values) => {
    for (const [name, value] of Object.entries(values)) inputs[name].value = value;
    run();
  };
  const form = h("form", {onsubmit: (event) => { event.preventDefault(); run(); }});
  for (const field of fields) {
    const id = `field-${field.name}`;
    const input = h(field.tag ?? "textarea", {
      id, class: field.long ? "long" : "", rows: field.rows, value: field.value, autocomplete: "off", spellcheck: "false",
      oninput: soon,
      onkeydown: (event) => {
        if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); run(); }
      },
    });
    inputs[field.name] = input;
    form.append(h("div", {}, h("label", {for: id}, field.label), input));
  }
  const chips = examples.map((example) => h("button", {class: "chip", type: "button", onclick: () => set(example)},
    Object.values(example)[0]));
  form.append(h("div", {class: "row"}, chips, tools(inputs, run),
    h("button", {class: "primary push"}, "Ask", h("kbd", {}, "Ctrl ↵"))));
  run();
  return [form, result, details];
}
