// The human study: items and orders, scores against a hand-made table, agreement with a judge, and the page in a real Chromium.
// Run: node --import tsx test/study.test.ts
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { folderSystem, type Sample } from "../world/bench.ts";
import { encodePng } from "../world/pictures.ts";
import type { TripletRecord } from "../world/records.ts";
import { pngDataUrl } from "../world/sheets.ts";
import { makeStudy, parseAnswers, type StudyKey, scoreStudy } from "../world/study.ts";
import { studyPage } from "../world/study_page.ts";

const folder = mkdtempSync(join(tmpdir(), "worldline-study-"));
const grey = (value: number) => ({ width: 8, height: 8, data: new Uint8Array(192).fill(value) });
const names = ["alpha", "beta", "gamma"];
const records: TripletRecord[] = Array.from({ length: 20 }, (_, i) => ({
  id: `r${i}`,
  source: "s",
  target: "t",
  action: `do ${i}`,
  family: i < 10 ? "one" : "two",
}));
const systems = names.map((name, n) => {
  mkdirSync(join(folder, name));
  for (const [i, r] of records.entries()) if (n !== 2 || i !== 3) writeFileSync(join(folder, name, `${r.id}.png`), encodePng(grey(40 * n)));
  return folderSystem(name, join(folder, name));
});

test("items: the same number of each part, only where every system has a picture, orders drawn by the seed and balanced", () => {
  const key = makeStudy(records, systems, 6, 1);
  assert.equal([key.items.length, key.items.filter((i) => i.subset === "one").length, key.systems], [12, 6, names]);
  assert.not.ok(makeStudy(records, systems, 99, 1).items.some((i) => i.id === "r3"));
  assert.equal(makeStudy(records, systems, 6, 1), key);
  assert.is.not(makeStudy(records, systems, 6, 2).study, key.study);
  const firsts = new Set(Array.from({ length: 8 }, (_, seed) => makeStudy(records, systems, 9, seed).items.map((i) => i.order[0])).flat());
  assert.equal([...firsts].sort(), names, "every system stands first somewhere");
  for (const item of key.items) assert.equal([...item.order].sort(), names);
  assert.throws(() => makeStudy(records, systems.slice(0, 1), 6, 1), /give two or more/);
});

const key: StudyKey = {
  study: "s1",
  systems: names,
  items: [
    { id: "x", subset: "one", order: ["beta", "alpha", "gamma"] },
    { id: "y", subset: "one", order: ["gamma", "alpha", "beta"] },
    { id: "z", subset: "two", order: ["alpha", "gamma", "beta"] },
  ],
};
const answers = (rater: string, ...choices: [string, number, number][]) =>
  JSON.stringify({ study: "s1", rater, answers: choices.map(([id, best, worst]) => ({ id, best, worst })) });

test("scores: +1 best, -1 worst, 0 else, by part and overall, against a table made by hand", () => {
  const people = [answers("p", ["x", 1, 2], ["y", 1, 0], ["z", 0, 2]), answers("q", ["x", 1, 0], ["y", 2, 0], ["z", 2, 0])].map((text, i) =>
    parseAnswers(text, `file ${i}`, key),
  );
  const { scores, raters, annotations, comparisons } = scoreStudy(key, people);
  // alpha: x +1 +1, y +1 0, z +1 -1; beta: x 0 -1, y 0 +1, z -1 +1; gamma: x -1 0, y -1 -1, z 0 0.
  const mean = (system: string) => ["one", "two", "all"].map((part) => scores[system][part].mean);
  assert.equal(
    [mean("alpha"), mean("beta"), mean("gamma")],
    [
      [0.75, 0, 0.5],
      [0, 0, 0],
      [-0.75, 0, -0.5],
    ],
  );
  assert.equal([raters, annotations], [2, 6]);
  const test_ = comparisons.find((c) => c.subset === "all" && c.first === "alpha" && c.second === "gamma")!;
  // Differences 2, 1, 2, 1, 1, -1: ranks 5.5, 2.5, 5.5, 2.5, 2.5, 2.5; positive 18.5 of 21.
  assert.equal([test_.n, test_.positive], [6, 18.5]);
  assert.ok(Math.abs(test_.p - 10 / 64) < 1e-12, `p ${test_.p}`);
});

test("agreement with a judge: rank correlation over items and systems, and the same best", () => {
  const people = [parseAnswers(answers("p", ["x", 1, 2], ["y", 1, 0]), "p", key)];
  const judged = (id: string, system: string, score: number) => ({ id, system, verdict: { score } }) as unknown as Sample;
  const samples = [
    ...[judged("x", "alpha", 9), judged("x", "beta", 5), judged("x", "gamma", 1)],
    ...[judged("y", "alpha", 4), judged("y", "beta", 8), judged("y", "gamma", 0)],
  ];
  const { judge } = scoreStudy(key, people, samples);
  // Human +1 0 -1 +1 0 -1 in order beta alpha gamma | gamma alpha beta of the keys: (0,5) (1,9) (-1,1) (-1,0) (1,4) (0,8);
  // ranks about their mean: (0,0.5) (2,2.5) (-2,-1.5) (-2,-2.5) (2,-0.5) (0,1.5).
  assert.equal([judge!.n, judge!.sameBest, judge!.items], [6, 1, 2]);
  assert.ok(Math.abs(judge!.rho - 12 / Math.sqrt(16 * 17.5)) < 1e-12, `rho ${judge!.rho}`);
  assert.throws(() => scoreStudy(key, people, []), /hold no verdicts on this study's items/);
});

test("answers that cannot be are refused in a sentence", () => {
  const refuse = (text: string, message: RegExp) => assert.throws(() => parseAnswers(text, "a.json", key), message);
  refuse('{"study": "s2", "rater": "p", "answers": []}', /a\.json answers study s2, the key is of s1/);
  refuse('{"study": "s1", "answers": []}', /a\.json has no rater or no answers/);
  for (const wrong of [
    ["x", 1, 1],
    ["x", 0, 3],
    ["x", -1, 0],
    ["w", 0, 1],
  ] as [string, number, number][])
    refuse(answers("p", wrong), /answer 1 is no choice/);
  refuse(answers("p", ["x", 0, 1], ["x", 1, 2]), /answer 2 is no choice .* each item once/);
  const p = parseAnswers(answers("p", ["x", 0, 1]), "p", key);
  assert.throws(() => scoreStudy(key, [p, p]), /rater "p" comes twice/);
});

const browser = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome", process.env.CHROMIUM_PATH ?? ""].find(
  (p) => p && existsSync(p),
);
const browserTest = browser ? test : test.skip;
if (!browser) console.log("skipped: the study's page, as no Chromium was found (CHROMIUM_PATH)");

browserTest("the page: keys, buttons, progress, going on after a reload, export; blind and without outside resources", async () => {
  const made = makeStudy(records, systems, 2, 4);
  const shown = made.items.map((item) => ({
    id: item.id,
    action: `<b>do</b> ${item.id} </script>`,
    source: pngDataUrl(grey(200)),
    results: item.order.map((name) => pngDataUrl(grey(40 * names.indexOf(name)))),
  }));
  const html = studyPage(made.study, shown);
  for (const name of names) assert.not.ok(html.includes(name), `the page names ${name}`);
  assert.not.match(html, /(src|href)="?https?:/);
  const path = join(folder, "study.html");
  writeFileSync(path, html);
  const chrome = await chromium.launch({ executablePath: browser, args: ["--no-sandbox", "--disable-background-networking"] });
  try {
    const context = await chrome.newContext({ acceptDownloads: true });
    const page = await context.newPage();
    const wrong: string[] = [];
    page.on("pageerror", (error) => wrong.push(String(error)));
    page.on("request", (r) => void (/^(file|data|blob):/.test(r.url()) || wrong.push(r.url())));
    await page.goto(pathToFileURL(path).href);
    assert.is(await page.textContent("#action"), `<b>do</b> ${made.items[0].id} </script>`, "text stays text");
    assert.is(await page.locator("#results img").count(), 3);
    await page.fill("#rater", "p 7");
    await page.locator("h1").click();
    await page.keyboard.press("2");
    await page.keyboard.press("3");
    assert.equal([await page.locator("figure.best").count(), await page.locator("figure.worst").count()], [1, 1]);
    assert.match((await page.textContent("#count"))!, /Item 1 of 4, 1 done/);
    await page.keyboard.press("Enter");
    await page.keyboard.press("1");
    await page.keyboard.press("Enter");
    assert.match((await page.textContent("#count"))!, /Item 2 of 4/, "an item half done does not go on");
    await page.getByRole("button", { name: "Result 3 is the worst" }).click();
    await page.getByRole("button", { name: "Result 2 is the best" }).click();
    const counted = (words: string) => page.waitForFunction((w) => document.getElementById("count")?.textContent?.includes(w), words);
    await counted("Item 2 of 4, 2 done");
    await page.reload();
    await counted("Item 2 of 4, 2 done");
    assert.is(await page.inputValue("#rater"), "p 7");
    await page.keyboard.press("Backspace");
    assert.match((await page.textContent("#count"))!, /1 done/);
    await page.keyboard.press("1");
    await page.keyboard.press("ArrowRight");
    await page.keyboard.press("3");
    await page.keyboard.press("1");
    const [download] = await Promise.all([page.waitForEvent("download"), page.click("#export")]);
    assert.is(download.suggestedFilename(), `study-${made.study}-p_7.json`);
    const text = readFileSync((await download.path())!, "utf8");
    assert.is(await page.inputValue("#out"), text);
    assert.equal(parseAnswers(text, "export", made), {
      study: made.study,
      rater: "p 7",
      answers: [
        { id: made.items[0].id, best: 1, worst: 2 },
        { id: made.items[1].id, best: 1, worst: 0 },
        { id: made.items[2].id, best: 2, worst: 0 },
      ],
    });
    assert.equal(wrong, []);
    await page.screenshot({ path: process.env.WORLDLINE_SHOT || join(folder, "page.png"), fullPage: true });
  } finally {
    await chrome.close();
  }
});

test.after(() => rmSync(folder, { recursive: true, force: true }));
test.run();
