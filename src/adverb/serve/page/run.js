// The panel of a run: how far, how healthy, what it draws now, its curves. Looks again while it is in sight.

import {ask} from "./api.js";
import {duration, h, short} from "./dom.js";

const EVERY = 3000; // milliseconds
const STILL = 120; // seconds without a line after which training has most likely stopped
const WIDTH = 260, HEIGHT = 100, MARGIN = 48; // of a curve, and of the numbers to its left

export function runPanel(model) {
  const facts = h("p", {class: "facts"});
  const progress = h("progress", {max: 1, value: 0, "aria-label": "Progress"});
  const place = h("div", {});
  const curves = h("div", {class: "curves"});
  const floor = h("p", {class: "dim small", hidden: true}, "Dashed: the floor, what a second sample of real data scores.");
  const error = h("p", {class: "error", hidden: true});
  const panel = h("div", {class: "result"}, error, h("div", {}, facts, progress), place, h("div", {}, curves, floor));
  const sheet = sampleSheet(model, place);
  let seen = "";

  async function look() {
    if (!document.hidden) {
      try {
        const run = await ask(`/runs/${encodeURIComponent(model.name)}`);
        error.hidden = true;
        const now = JSON.stringify([run.step, run.samples.length, run.quiet > STILL && Math.floor(run.quiet / 60)]);
        if (now !== seen) update(run);
        seen = now;
      } catch (problem) {
        error.textContent = problem.message;
        error.hidden = false;
      }
    }
    setTimeout(() => document.body.contains(panel) && look(), EVERY);
  }

  function update(run) {
    const state = run.progress >= 1 ? "done" : run.quiet === null ? "starting" : run.quiet > STILL ? `nothing new for ${duration(run.quiet)}` : "training";
    facts.replaceChildren(...[
      run.word && h("span", {class: `word ${run.word === "healthy" ? "good" : ""}`}, run.word),
      h("b", {}, state),
      h("span", {}, h("span", {class: "dim"}, "step "), run.step.toLocaleString("en")),
      h("span", {}, h("span", {class: "dim"}, "for "), duration(run.seconds)),
      run.progress < 1 && h("span", {}, `${Math.floor(100 * run.progress)}%`),
    ].filter(Boolean));
    progress.value = run.progress;
    sheet(run);
    floor.hidden = !Object.keys(run.floors).length;
    curves.replaceChildren(...Object.entries(run.curves).map(([name, points]) => chart(name, points, run.floors[name])));
  }

  setTimeout(look);
  return [panel];
}

/** The newest picture of samples, and a slider back to how it began. */
function sampleSheet(model, place) {
  let steps = [], follow = true;
  const image = h("img", {});
  const caption = h("h3", {});
  const slider = h("input", {type: "range", min: 0, "aria-label": "Which step", oninput: () => { follow = Number(slider.value) === steps.length - 1; show(); }});

  async function show() {
    const step = steps[Number(slider.value)];
    caption.textContent = `Samples at step ${step.toLocaleString("en")}`;
    image.alt = caption.textContent;
    const blob = await ask(`/runs/${encodeURIComponent(model.name)}/samples/${step}`);
    if (step !== steps[Number(slider.value)]) return;
    URL.revokeObjectURL(image.src);
    image.src = URL.createObjectURL(blob);
  }

  return (run) => {
    if (run.text) place.replaceChildren(h("h3", {}, "Newest samples"), h("pre", {class: "sample", tabindex: 0, "aria-label": "Newest samples"}, run.text));
    if (!run.samples.length || run.samples.length === steps.length) return;
    steps = run.samples;
    slider.max = steps.length - 1;
    if (follow) slider.value = steps.length - 1;
    slider.hidden = steps.length < 2;
    if (!image.isConnected) place.replaceChildren(h("div", {class: "sheet"}, caption, image, slider));
    show();
  };
}

function chart(name, points, floor) {
  const known = points.filter(([, y]) => y !== null);
  const ys = known.map(([, y]) => y), xs = known.map(([x]) => x);
  const low = Math.min(...ys, floor ?? Infinity), high = Math.max(...ys, floor ?? -Infinity);
  const spread = high - low || Math.abs(high) || 1, span = xs.at(-1) - xs[0] || 1;
  const place = (y) => HEIGHT - (HEIGHT * (y - low)) / spread;
  const line = known.map(([x, y]) => `${((WIDTH * (x - xs[0])) / span).toFixed(1)},${place(y).toFixed(1)}`).join(" ");
  const last = ys.length ? short(ys.at(-1)) : "not finite";
  const label = `${name}: ${last}${floor === undefined ? "" : `, floor ${short(floor)}`}`;
  return h("figure", {}, h("figcaption", {}, name, h("b", {}, last)),
    h("svg", {viewBox: `${-MARGIN} -6 ${WIDTH + MARGIN} ${HEIGHT + 22}`, role: "img", "aria-label": label},
      h("line", {class: "axis", x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT}),
      floor === undefined ? null : h("line", {class: "floor", x1: 0, x2: WIDTH, y1: place(floor), y2: place(floor)}),
      h("polyline", {points: line}),
      h("text", {x: -8, y: 4, "text-anchor": "end"}, Number.isFinite(high) ? short(high) : ""),
      h("text", {x: -8, y: HEIGHT, "text-anchor": "end"}, Number.isFinite(low) ? short(low) : ""),
      h("text", {x: WIDTH, y: HEIGHT + 13, "text-anchor": "end"}, ys.length ? `step ${xs.at(-1).toLocaleString("en")}` : "")));
}
