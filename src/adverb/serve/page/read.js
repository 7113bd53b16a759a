// Panels of models that read: classes, entities, answers, masks, likeness.

import {ask} from "./api.js";
import {bars, h, percent, short} from "./dom.js";
import {panel} from "./panel.js";

const present = (text) => text.trim() !== "";

const PRAISE = /^(pos|good|[1-5]( stars?)?$)/i; // labels of opinions
const OPINIONS = ["The plot is thin, but the acting is wonderful.", "I was bored from the first minute to the last."];
const QUESTIONS = ["What is the highest mountain in Africa?", "Who wrote the first novel, and when?"];

export function fillPanel(model) {
  const mask = model.mask;
  let inputs, again;
  return panel({
    fields: [{name: "text", label: `A text with ${mask} where a word is missing`, value: `The door was ${mask} and the room was dark.`}],
    examples: [`She looked at him and ${mask}.`, `He went to ${mask} by ${mask}.`].map((text) => ({text})),
    tools: (made, run) => {
      [inputs, again] = [made, run];
      return [h("button", {type: "button", onclick: () => {
        const field = inputs.text;
        field.setRangeText(mask, field.selectionStart, field.selectionEnd, "end");
        field.focus();
        again();
      }}, `Insert ${mask}`)];
    },
    request: ({text}) => text.includes(mask)
      ? {path: "/fill-mask", body: {model: model.name, texts: [text], top_k: 8}} : null,
    show: ({answers: [{fills}]}) => [
      bars(fills.map((fill) => ({
        name: fill.tokens.join(" · "), share: fill.probability, title: fill.text,
        press: () => { inputs.text.value = fill.text; inputs.text.focus(); },
      })), "What may stand there"),
      h("p", {class: "dim small"}, "Choose one to put it into the text."),
    ],
  });
}

export function classesPanel(model) {
  const why = h("div", {class: "why"});
  const opinions = model.pairs || model.regression || model.labels.some((label) => PRAISE.test(label));
  const [first, ...others] = opinions ? [...OPINIONS, ...QUESTIONS.slice(0, 1)] : [...QUESTIONS, ...OPINIONS.slice(0, 1)];
  const fields = [{name: "text", label: model.pairs ? "The first text" : "A text", value: first}];
  if (model.pairs) fields.push({name: "pair", label: "The second text", value: "It made me laugh and cry."});
  return panel({
    fields,
    examples: model.pairs ? [] : others.map((text) => ({text})),
    request: ({text, pair}) => present(text) && (!model.pairs || present(pair))
      ? {path: "/classify", body: {model: model.name, texts: [text], ...(model.pairs && {pairs: [pair]}), truncate: true}} : null,
    show: ({answers: [answer]}, {text, pair}, signal) => {
      explain(why, model, text, pair, signal);
      return [classes(answer), why];
    },
  });
}

function classes(answer) {
  if (!answer.probabilities) {
    const values = answer.values ?? {value: answer.value};
    return h("div", {}, Object.entries(values).map(([name, value]) => h("p", {}, h("span", {class: "dim"}, `${name} `), h("b", {}, short(value)))));
  }
  const chosen = answer.labels && new Set(answer.labels);
  // Sorted here: an object has names that are whole numbers first, in ascending order.
  const rows = Object.entries(answer.probabilities).sort(([, a], [, b]) => b - a).slice(0, 10);
  return bars(rows.map(([name, share]) => ({name: chosen?.has(name) ? `✓ ${name}` : name, share})), "Classes");
}

/** Below the classes, the text with the words that carried the first of them. */
async function explain(place, model, text, pair, signal) {
  place.replaceChildren(h("p", {class: "dim small"}, "Leaving out one word at a time…"));
  let said;
  try {
    said = await ask("/explain", {model: model.name, text, ...(model.pairs && {pair}), truncate: true}, signal);
  } catch (error) {
    if (error.name !== "AbortError") place.replaceChildren(h("p", {class: "dim small"}, error.message));
    return;
  }
  const most = Math.max(0.02, ...said.words.map((word) => Math.abs(word.change)));
  const end = Array.from(text).length;
  const unread = said.read < end ? [{start: said.read, end, unread: true}] : [];
  const unit = model.regression ? short : (change) => `${change < 0 ? "−" : "+"}${percent(Math.abs(change))}`;
  place.replaceChildren(
    h("h3", {}, model.regression ? "Which words raised the value" : `Which words speak for “${said.label}”`),
    h("p", {class: "text"}, marked(text, [...said.words, ...unread], (word, inside) => {
      if (word.unread) return h("span", {class: "dim"}, inside);
      const told = `${inside}: ${unit(word.change)}`;
      return h("mark", {class: word.change < 0 ? "against" : "", "--share": Math.abs(word.change) / most, title: told}, inside);
    })),
    h("p", {class: "dim small scale"},
      h("span", {}, h("i"), "speaks for it"), h("span", {class: "against"}, h("i"), "speaks against it"),
      h("span", {}, `Strongest: ${strongest(text, said.words, unit)}`)),
    ...unread.map(() => h("p", {class: "dim small"}, "The grey end is more than this model reads.")));
}

function strongest(text, words, unit) {
  if (words.every((word) => Math.abs(word.change) < 0.005)) return "none, no word matters alone";
  const first = [...words].sort((a, b) => Math.abs(b.change) - Math.abs(a.change)).slice(0, 3);
  return first.map((word) => `${text.slice(...places(text, word))} ${unit(word.change)}`).join(", ") || "none";
}

export function entitiesPanel(model) {
  return panel({
    fields: [{name: "text", label: "A text of any length", long: true,
      value: "Angela flew from Berlin to San Francisco on Monday, to see the people at Google and a show of Radiohead."}],
    examples: [{text: "just landed in New York with Justin Bieber, watching Game of Thrones on my iPhone"}],
    request: ({text}) => present(text) ? {path: "/entities", body: {model: model.name, texts: [text]}} : null,
    show: ({answers: [{entities}]}, {text}) => {
      const types = [...new Set([...model.labels.map((label) => label.replace(/^[BI]-/, "")).filter((label) => label !== "O"), ...entities.map((e) => e.type)])];
      return [
        h("p", {class: "text"}, marked(text, entities, (entity, inside) =>
          h("mark", {class: "entity", "--hue": hue(types.indexOf(entity.type)), title: `${entity.type}: ${percent(entity.probability)}`}, inside, h("small", {}, entity.type)))),
        h("p", {class: "dim small"}, entities.length ? `${entities.length} found. Of ${types.length} kinds: ${types.join(", ")}.` : "None found."),
      ];
    },
  });
}

const hue = (i) => (215 + 137.5 * i) % 360; // the golden angle: neighbours differ most

export function answersPanel(model) {
  let chosen = 0;
  return panel({
    fields: [
      {name: "question", label: "A question", tag: "input", value: "Where was Marie Curie born?"},
      {name: "context", label: "The document in which to look", long: true,
        value: "Marie Curie was born in Warsaw in 1867 and moved to Paris at the age of twenty-four to study physics. With her husband Pierre she discovered polonium, which she named after the country of her birth, and radium. In 1903 they shared the Nobel Prize in Physics with Henri Becquerel; in 1911 she received a second one, in Chemistry. During the First World War she built small lorries with X-ray equipment and drove them to the front herself."},
    ],
    examples: ["What did she discover?", "When did she receive her second prize?"].map((question) => ({question})),
    request: ({question, context}) => present(question) && present(context)
      ? {path: "/answer", body: {model: model.name, questions: [question], contexts: [context], top_k: 4}} : null,
    show: ({answers: [{answers}]}, {context}) => {
      chosen = 0;
      const place = h("div", {class: "result"});
      const draw = () => {
        const answer = answers[chosen];
        const rows = answers.map((one, i) => ({
          name: one.text || "no answer in this text", share: one.probability, wide: true, pressed: i === chosen,
          press: () => { chosen = i; draw(); place.querySelectorAll("button")[i].focus(); },
        }));
        const text = h("p", {class: "text read", tabindex: 0, "aria-label": "The document"}, marked(context, answer.text ? [answer] : [], (_, inside) => h("mark", {class: "found"}, inside)));
        place.replaceChildren(bars(rows, "Answers"), text);
        const mark = text.querySelector("mark");
        if (mark) text.scrollTop = mark.offsetTop - text.offsetTop - 80;
      };
      draw();
      return [place];
    },
  });
}

export function likenessPanel(model) {
  return panel({
    fields: [
      {name: "query", label: "What are you looking for?", tag: "input", value: "someone making music"},
      {name: "texts", label: "Texts to look in, one a line", long: true,
        value: "A man is playing a guitar on the street.\nThe cat is asleep on the sofa.\nHow do I reset my password?\nThree children sing in a choir.\nThe stock market fell by two percent."},
    ],
    examples: [{query: "I can't log in"}, {query: "finance"}],
    request: ({query, texts}) => {
      const lines = texts.split("\n").filter(present);
      return present(query) && lines.length ? {path: "/embed", body: {model: model.name, texts: [query, ...lines.slice(0, 255)], truncate: true}} : null;
    },
    show: ({answers: [query, ...others]}, {texts}) => {
      const lines = texts.split("\n").filter(present);
      const found = others.map((other, i) => ({name: lines[i], share: cosine(query.embedding, other.embedding), wide: true}));
      found.sort((a, b) => b.share - a.share);
      return [
        bars(found.map((row) => ({...row, value: row.share.toFixed(2).replace(/^-0\.00$/, "0.00").replace("-", "−")})), "By likeness"),
        h("p", {class: "dim small"}, `The cosine between vectors of ${query.embedding.length} numbers; 1 is the same.`),
      ];
    },
  });
}

function cosine(a, b) {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b) || 1);
}

/** The text in pieces: strings, and mark(span, inside) for each span {start, end} that does not overlap one before. */
function marked(text, spans, mark) {
  const pieces = [];
  let at = 0;
  for (const span of [...spans].sort((a, b) => a.start - b.start)) {
    const [start, end] = places(text, span);
    if (start < at) continue;
    pieces.push(text.slice(at, start), mark(span, text.slice(start, end)));
    at = end;
  }
  pieces.push(text.slice(at));
  return pieces;
}

/** The server counts characters, a string here UTF-16 units: they differ after an emoji. */
function places(text, {start, end}) {
  if (!/[\ud800-\udbff]/.test(text)) return [start, end];
  const characters = Array.from(text);
  const before = characters.slice(0, start).join("").length;
  return [before, before + characters.slice(start, end).join("").length];
}
