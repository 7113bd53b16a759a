// Elements without a framework. Styles are set through the object model, as the page's policy has no inline ones.

/** h("p", {class: "dim", onclick: f, "--share": 0.5}, "text", element, null) -> an element. */
export function h(tag, attributes = {}, ...children) {
  const element = ["svg", "line", "polyline", "text"].includes(tag)
    ? document.createElementNS("http://www.w3.org/2000/svg", tag)
    : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name.startsWith("--")) element.style.setProperty(name, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const percent = (p) => `${(100 * p).toFixed(p < 0.0995 ? 1 : 0)}%`;

/** Three significant digits, without exponents where they only confuse. */
export function short(value) {
  const size = Math.abs(value);
  const written = size >= 1e5 || (size > 0 && size < 1e-4) ? size.toExponential(1)
    : size >= 1000 ? Math.round(size).toLocaleString("en")
    : String(Number(size.toPrecision(size < 0.01 ? 2 : 3)));
  return value < 0 ? `−${written}` : written;
}

export function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 60) return `${Math.floor(minutes / 60)}h ${String(minutes % 60).padStart(2, "0")}m`;
  return minutes ? `${minutes}m ${String(Math.floor(seconds % 60)).padStart(2, "0")}s` : `${Math.floor(seconds)}s`;
}

/**
 * A list of bars, the longest first. rows: {name, share, value, press, pressed, wide}; share in [0, 1] is the length,
 * value what is written; press makes a button of it.
 */
export function bars(rows, label) {
  return h("ol", {class: "bars", "aria-label": label}, rows.map((row, i) => h("li", {},
    h(row.press ? "button" : "div",
      {class: `${i ? "" : "first"} ${row.wide ? "wide" : ""}`, type: row.press ? "button" : null, onclick: row.press, title: row.title,
        "aria-pressed": row.pressed === undefined ? null : String(row.pressed)},
      h("span", {class: "name"}, row.name),
      h("span", {class: "bar"}, h("i", {"--share": Math.max(0, Math.min(1, row.share))})),
      h("span", {class: "value"}, row.value ?? percent(row.share))))));
}

/** A field of a form below its name. */
export const field = (id, label, input) => h("div", {}, h("label", {for: id}, label), input);

/** A field for the number that samples come from, with a button for another: [input, element]. changed, drawn: called
    while one types, and for the new one. */
export function seedField(changed, drawn) {
  const seed = h("input", {id: "seed", type: "number", min: 0, max: Number.MAX_SAFE_INTEGER, value: 1, oninput: changed});
  const another = h("button", {type: "button", onclick: () => { seed.value = Math.floor(Math.random() * 1e6); drawn(); }}, "New");
  return [seed, field("seed", "Seed", h("div", {class: "with"}, seed, another))];
}

/** A slider below its name and its value: [input, element]. */
export function rangeField(id, label, title, {min, max}, changed) {
  const told = () => { shown.textContent = Number(input.value).toFixed(2); };
  const input = h("input", {id, type: "range", min, max, step: 0.05, value: 1, oninput: () => { told(); changed(); }});
  const shown = h("output", {for: id, class: "dim"});
  told();
  return [input, h("div", {title}, h("label", {for: id, class: "spread"}, label, shown), input)];
}

/** The same function, called once after `wait` milliseconds without another call, unless cancelled before. */
export function debounced(f, wait = 350) {
  let timer;
  const soon = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => f(...values), wait);
  };
  soon.cancel = () => clearTimeout(timer);
  return soon;
}
