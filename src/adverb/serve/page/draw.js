// The panel of a generator: samples, and the way between two of them.

import {ask, curl} from "./api.js";
import {debounced, field, h, rangeField, seedField} from "./dom.js";

const FRAMES = 24;
const SHARP = [17, 63]; // pixels a side of images whose pixels are shown: fewer say more when they are smoothed, and many look better

export function drawPanel(model) {
  let ends = [0, 1], images = [], frames = [], labels = null, onTheWay = null, drawing, walking, playing;
  const again = debounced(draw, 200);

  const [seed, seedPlace] = seedField(again, draw);
  const count = h("select", {id: "count", onchange: draw}, [4, 9, 16, 36, 64].map((n) => h("option", {selected: n === 16}, n)));
  const label = h("select", {id: "label", onchange: draw}, h("option", {value: ""}, "any"), model.labels.map((name) => h("option", {value: name}, name)));
  const text = h("input", {id: "text", list: "captions", maxlength: 1000, autocomplete: "off", placeholder: "empty: captions it was trained on", oninput: again});
  const captions = h("datalist", {id: "captions"}, model.captions.map((value) => h("option", {value})));
  const chips = model.captions.filter((_, i) => i % 6 === 0).map((value) => h("button", {class: "chip", type: "button", onclick: () => { text.value = value; draw(); }}, value));
  const [truncation, truncationPlace] = rangeField("truncation", "Truncation", "Below 1: more typical, less varied", {min: 0.2, max: 1}, again);
  const [strength, strengthPlace] = rangeField("strength", "Strength", "Above 1: more as the caption says, less varied", {min: 0.5, max: 3}, again);
  const grid = h("div", {class: "grid", role: "group", "aria-label": "Samples; arrow keys move, Enter chooses", onkeydown: move});
  const error = h("p", {class: "error", hidden: true});
  const stage = h("div", {class: "stage"});
  const title = h("p", {class: "small title", "aria-live": "polite", hidden: true});
  const slider = h("input", {id: "walk", type: "range", min: 0, max: FRAMES - 1, value: 0, "aria-label": "From A to B", oninput: () => { stop(); show(); }});
  const play = h("button", {type: "button", onclick: () => (playing ? stop() : start())}, "▶ Play");
  const shell = h("pre", {});

  const samples = () => ({model: model.name, n: Number(count.value), seed: Number(seed.value || 0), ...(label.value && {label: label.value}), ...(text.value.trim() && {text: text.value.trim()}), truncation: Number(truncation.value), ...(model.captions.length && {strength: Number(strength.value)})});

  async function draw() {
    drawing?.abort();
    const mine = (drawing = new AbortController());
    const wanted = {...samples(), format: "json"};
    shell.textContent = `${curl("/generate", samples())} -o samples.png`;
    try {
      ({images, labels} = await ask("/generate", wanted, mine.signal));
      error.hidden = true;
    } catch (problem) {
      if (problem.name === "AbortError") return;
      error.textContent = problem.message;
      error.hidden = false;
      return;
    }
    ends = ends.map((end, i) => (end < images.length ? end : i));
    const columns = Math.round(Math.sqrt(images.length));
    grid.style.setProperty("--columns", columns);
    grid.replaceChildren(...images.map((image, i) => h("button", {
      type: "button", tabindex: i === ends[0] ? 0 : -1, title: labels?.[i], onclick: () => choose(i),
      "aria-label": `Sample ${i + 1}${labels ? `, ${labels[i]}` : ""}`,
    }, picture(image, (width, height) => {
      for (const element of [grid, stage]) {
        element.style.setProperty("--ratio", width / height);
        element.classList.toggle("smooth", Math.max(width, height) < SHARP[0] || Math.max(width, height) > SHARP[1]);
      }
    }))));
    mark();
    walk();
  }

  /** The newest choice is B, the one before it A. */
  function choose(i) {
    ends = i === ends[1] ? ends : [ends[1], i];
    mark();
    walk();
  }

  function mark() {
    [...grid.children].forEach((cell, i) => {
      delete cell.dataset.end;
      cell.setAttribute("aria-pressed", String(ends.includes(i)));
      if (ends.includes(i)) cell.dataset.end = ends[0] === ends[1] ? "A B" : i === ends[0] ? "A" : "B";
    });
  }

  async function walk() {
    stop();
    walking?.abort();
    const mine = (walking = new AbortController());
    try {
      const said = await ask("/walk", {...samples(), first: ends[0], second: ends[1], frames: FRAMES}, mine.signal);
      [frames, onTheWay] = [said.images, said.labels];
      stage.replaceChildren(...frames.map((image) => picture(image)));
      slider.value = 0;
      show();
    } catch (problem) {
      if (problem.name !== "AbortError") stage.replaceChildren(h("p", {class: "dim small"}, problem.message));
    }
  }

  function show() {
    const at = Number(slider.value);
    [...stage.children].forEach((image, i) => { image.hidden = i !== at; });
    title.hidden = !onTheWay;
    if (onTheWay && title.textContent !== onTheWay[at]) title.textContent = onTheWay[at];
  }

  function start() {
    play.textContent = "❚❚ Pause";
    let step = 1;
    playing = setInterval(() => {
      if (!document.body.contains(stage)) return stop();
      const at = Number(slider.value);
      if (at + step < 0 || at + step >= frames.length) step = -step;
      slider.value = at + step;
      show();
    }, 80);
  }

  function stop() {
    clearInterval(playing);
    playing = undefined;
    play.textContent = "▶ Play";
  }

  function move(event) {
    const columns = Math.round(Math.sqrt(images.length));
    const by = {ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns}[event.key];
    const cells = [...grid.children];
    const next = by && cells[cells.indexOf(document.activeElement) + by];
    if (!next) return;
    event.preventDefault();
    cells.forEach((cell) => { cell.tabIndex = cell === next ? 0 : -1; });
    next.focus();
  }

  async function save() {
    const blob = await ask("/generate", samples());
    const link = h("a", {href: URL.createObjectURL(blob), download: `${model.name}-${seed.value}.png`});
    link.click();
    URL.revokeObjectURL(link.href);
  }

  draw();
  return [
    h("form", {onsubmit: (event) => { event.preventDefault(); draw(); }},
      model.captions.length ? h("div", {}, h("label", {for: "text"}, "What to draw"), text, captions) : null,
      model.captions.length ? h("div", {class: "row"}, chips) : null,
      h("div", {class: "fields"},
        seedPlace,
        field("count", "How many", count),
        model.labels.length ? field("label", "Of which class", label) : null,
        truncationPlace,
        model.captions.length ? strengthPlace : null)),
    error,
    h("div", {class: "drawing"}, grid,
      h("section", {class: "card", "aria-label": "A walk"}, stage, title,
        h("div", {}, slider, h("div", {class: "ends"}, h("b", {}, "A"), h("b", {}, "B"))),
        h("p", {class: "dim small"}, "Choose two samples, and walk from one to the other."), play)),
    h("div", {class: "row"}, h("button", {type: "button", onclick: save}, "Save the samples")),
    h("details", {}, h("summary", {}, "As a request"), shell),
  ];
}

function picture(image, sized) {
  const element = h("img", {alt: "", src: `data:image/png;base64,${image}`});
  if (sized) element.addEventListener("load", () => sized(element.naturalWidth, element.naturalHeight), {once: true});
  return element;
}
