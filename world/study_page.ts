// The study's page: one HTML file without outside resources that works offline. It saves every choice in the browser as it is made, goes on where one
// stopped, and exports the choices as JSON. Keys: 1 ... 9 the best, then the worst; Backspace takes back, arrows go between items, Enter goes on.
import { escapeHtml } from "./markup.ts";

/** An item as the page shows it: pictures as data URLs in the order of the key. */
export interface ShownItem {
  readonly id: string;
  readonly action: string;
  readonly source: string;
  readonly results: readonly string[];
}

const style = `:root { color-scheme: light dark; --ink: #1b1f24; --paper: #fff; --soft: #5a6470; --best: #16803c; --worst: #c8321f; --rule: #d9dee4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ed; --paper: #14171b; --soft: #a3adb8; --rule: #353c45; --best: #48c774; --worst: #ff7a66; } }
* { box-sizing: border-box; } body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; } h1 { font-size: 1.25rem; margin: 0 0 .25rem; }
.soft { color: var(--soft); font-size: .875rem; } progress { width: 100%; height: .5rem; }
.row { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; margin: .75rem 0; }
figure { margin: 0; } figure img { width: min(17rem, 40vw); display: block; border: .3rem solid var(--rule); border-radius: .4rem; }
figure.best img { border-color: var(--best); } figure.worst img { border-color: var(--worst); }
figcaption { display: flex; gap: .4rem; align-items: center; padding-top: .3rem; min-height: 2.4rem; }
button { font: inherit; padding: .25rem .7rem; border: 1px solid var(--rule); border-radius: .4rem; background: none; color: inherit; cursor: pointer; }
button:focus-visible { outline: 2px solid var(--best); } button[aria-pressed=true].b { background: var(--best); color: #fff; }
button[aria-pressed=true].w { background: var(--worst); color: #fff; } .action { font-size: 1.2rem; font-weight: 600; } textarea { width: 100%; height: 6rem; }`;

// Runs in the page; DATA is {study, items}. Kept plain so that any browser of the last years runs it.
const script = `
const store = "worldline-study-" + DATA.study;
let state = { rater: "", at: 0, choices: {}, saves: 0 };
// What is stored may not be readable yet when a page is loaded anew at once; its place in the history holds it too.
const held = [history.state && history.state.study === store ? history.state.state : {}];
try { held.push(JSON.parse(localStorage.getItem(store) || "{}")); } catch (e) {}
state = Object.assign(state, held.reduce((a, b) => ((b.saves || 0) > (a.saves || 0) ? b : a)));
const $ = (id) => document.getElementById(id);
const save = () => { state.saves++; try { history.replaceState({ study: store, state }, ""); } catch (e) {} try { localStorage.setItem(store, JSON.stringify(state)); } catch (e) { $("saved").textContent = "This browser does not save; export before you leave."; } };
const choice = () => state.choices[DATA.items[state.at].id] || (state.choices[DATA.items[state.at].id] = {});
const complete = (c) => c && c.best !== undefined && c.worst !== undefined;
function choose(kind, place) {
  const c = choice(), other = kind === "best" ? "worst" : "best";
  if (c[kind] === place) delete c[kind]; else { c[kind] = place; if (c[other] === place) delete c[other]; }
  save(); draw();
}
function go(step) { state.at = Math.min(DATA.items.length - 1, Math.max(0, state.at + step)); save(); draw(); }
function exported() {
  const answers = DATA.items.filter((i) => complete(state.choices[i.id])).map((i) => ({ id: i.id, best: state.choices[i.id].best, worst: state.choices[i.id].worst }));
  return JSON.stringify({ study: DATA.study, rater: state.rater.trim() || "anonymous-" + Math.random().toString(36).slice(2, 8), answers }, null, 1);
}
function draw() {
  const item = DATA.items[state.at], c = choice();
  const done = DATA.items.filter((i) => complete(state.choices[i.id])).length;
  $("bar").max = DATA.items.length; $("bar").value = done;
  $("count").textContent = "Item " + (state.at + 1) + " of " + DATA.items.length + ", " + done + " done";
  $("action").textContent = item.action;
  $("source").src = item.source;
  $("results").replaceChildren(...item.results.map((url, i) => {
    const figure = document.createElement("figure"), image = new Image(), caption = document.createElement("figcaption");
    figure.className = c.best === i ? "best" : c.worst === i ? "worst" : "";
    image.src = url; image.alt = "Result " + (i + 1);
    const button = (kind, name, css) => {
      const b = document.createElement("button");
      b.textContent = name; b.className = css; b.type = "button"; b.setAttribute("aria-pressed", String(c[kind] === i));
      b.setAttribute("aria-label", "Result " + (i + 1) + " is the " + kind); b.onclick = () => choose(kind, i);
      return b;
    };
    caption.append(String(i + 1), button("best", "Best", "b"), button("worst", "Worst", "w"));
    figure.append(image, caption);
    return figure;
  }));
  $("back").disabled = state.at === 0; $("next").disabled = state.at === DATA.items.length - 1;
  $("export").textContent = done === DATA.items.length ? "Finish: export the choices" : "Export " + done + " choices";
}
document.addEventListener("keydown", (e) => {
  if (e.target.matches("input, textarea") || e.ctrlKey || e.metaKey || e.altKey) return;
  const place = Number(e.key) - 1, c = choice();
  if (Number.isInteger(place) && place >= 0 && place < DATA.items[state.at].results.length) choose(c.best === undefined ? "best" : c.best === place ? "best" : "worst", place);
  else if (e.key === "Backspace") { if (c.worst !== undefined) delete c.worst; else delete c.best; save(); draw(); }
  else if (e.key === "ArrowLeft") go(-1);
  else if (e.key === "ArrowRight" || (e.key === "Enter" && !e.target.matches("button") && complete(c))) go(1);
  else return;
  e.preventDefault();
});
$("rater").value = state.rater;
$("rater").oninput = () => { state.rater = $("rater").value; save(); };
$("back").onclick = () => go(-1); $("next").onclick = () => go(1);
$("export").onclick = () => {
  const text = exported(), link = document.createElement("a");
  $("out").hidden = false; $("out").value = text;
  link.href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  link.download = "study-" + DATA.study + "-" + JSON.parse(text).rater.replace(/[^\\w-]/g, "_") + ".json"; link.click();
};
draw();`;

/** The page of a study. */
export function studyPage(study: string, items: readonly ShownItem[]): string {
  // "<" is written as an escape so that no text can end the script.
  const data = JSON.stringify({ study, items }).replace(/</g, "\\u003c");
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Which edit is best? Study ${escapeHtml(study)}</title>
<style>${style}</style>
</head>
<body><main>
<h1>Which result is best, which is worst?</h1>
<p class="soft">Judge three things together: does the result look real, was the instruction followed, and was nothing else changed? Keys: a number picks the best, a second one the worst; Enter goes on, Backspace takes back, arrows go between items. Choices are saved in this browser.</p>
<p><label>Your name or number: <input id="rater" autocomplete="off"></label> <span id="saved" class="soft"></span></p>
<progress id="bar"></progress><div id="count" class="soft" aria-live="polite"></div>
<p>Instruction: <span id="action" class="action"></span></p>
<div class="row"><figure><img id="source" alt="Original"><figcaption>Original</figcaption></figure></div>
<div class="row" id="results"></div>
<p><button id="back" type="button">Back</button> <button id="next" type="button">Next</button> <button id="export" type="button"></button></p>
<textarea id="out" hidden readonly aria-label="Choices as JSON"></textarea>
</main>
<script>const DATA = ${data};${script}</script>
</body>
</html>
`;
}
