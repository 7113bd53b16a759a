// Which model is on the page: the part of the address after #, as #name, or #name/run to watch its training.

import {ask} from "./api.js";
import {h} from "./dom.js";
import {drawPanel} from "./draw.js";
import {answersPanel, classesPanel, entitiesPanel, fillPanel, likenessPanel} from "./read.js";
import {runPanel} from "./run.js";
import {writePanel} from "./write.js";

const PANELS = {
  fill_mask: [fillPanel, "fills in words", "What stands where a word is missing?"],
  classify: [classesPanel, "sorts texts", "Which class is it, and which words say so?"],
  entities: [entitiesPanel, "finds entities", "Which names and things does a text speak of?"],
  answer: [answersPanel, "answers questions", "Where in a document is the answer?"],
  embed: [likenessPanel, "compares texts", "Which texts mean the same?"],
  generate: [drawPanel, "draws", "What has it learnt to draw?"],
  write: [writePanel, "writes", "What has it learnt to write?"],
};
const AGAIN = 4000; // milliseconds until a run without a model is asked for one again

const list = document.getElementById("models"), main = document.getElementById("main");
let models = [], waiting;

const address = (name, part = "") => `#${encodeURIComponent(name)}${part && `/${part}`}`;

async function load() {
  try {
    ({models} = await ask("/models"));
  } catch (error) {
    main.replaceChildren(h("p", {class: "error"}, error.message));
    return;
  }
  list.replaceChildren(...models.map((model) => h("li", {}, h("a", {href: address(model.name)},
    h("b", {}, model.name), h("span", {}, PANELS[model.verb]?.[1] ?? "trains")))));
  show();
}

function show() {
  const [name, part] = location.hash.slice(1).split("/").map(decodeURIComponent);
  const model = models.find((one) => one.name === name) ?? models[0];
  const watching = model.run && (part === "run" || model.verb === null);
  [...list.querySelectorAll("a")].forEach((link, i) => {
    const mine = models[i] === model;
    link.toggleAttribute("aria-current", mine);
    if (mine) link.setAttribute("aria-current", "page");
    if (mine) link.scrollIntoView({block: "nearest", inline: "nearest"});
  });
  document.title = `${model.name} · adverb`;
  const tab = (label, to, current) => h("a", {href: to, "aria-current": current ? "page" : null}, label);
  const tabs = model.run && model.verb !== null
    ? h("nav", {class: "tabs", "aria-label": "Views"}, tab("Try it", address(model.name), !watching), tab("Training", address(model.name, "run"), watching)) : null;
  const [panel, , question] = watching ? [runPanel, "", "How is its training?"] : PANELS[model.verb];
  main.replaceChildren(
    h("div", {class: "head"}, h("div", {}, h("h2", {}, model.name), h("p", {class: "dim"}, question)), tabs ?? ""),
    ...panel(model));
  clearTimeout(waiting);
  if (model.verb === null) waiting = setTimeout(waitForModel, AGAIN, model.name);
}

/** A run that has no model yet gets its second view as soon as it has one. */
async function waitForModel(name) {
  const found = await ask("/models").catch(() => null);
  if (found?.models.find((model) => model.name === name)?.verb) return load();
  waiting = setTimeout(waitForModel, AGAIN, name);
}

addEventListener("hashchange", show);
// By itself the link would put #main where the model's name stands.
document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
load();
