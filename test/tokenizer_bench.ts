// Our text tokenizer beside the Rust library (npm `tokenizers`): thousand tokens a second over the repository's own words, with a vocabulary trained on
// them in Chameleon's layout, and over random strings. The same ids from both are a condition. Not in bench/, which is shipped without `tokenizers`.
//   npm run bench:tokenizer
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Bench } from "tinybench";
import { Tokenizer as Rust } from "tokenizers";
import { Rng } from "../engine/rng.ts";
import { parseTokenizer } from "../tokenizer/text.ts";
import { trainBpe } from "../tokenizer/train_bpe.ts";
import { randomText } from "./fuzz_strings.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const files = readdirSync(`${root}docs`).filter((name) => name.endsWith(".md"));
const words = ["README.md", ...files.map((name) => `docs/${name}`)].map((name) => readFileSync(root + name, "utf8")).join("\n");
const rng = new Rng(1, "bench");
const texts: Record<string, string> = { words, "random strings": Array.from({ length: 4000 }, () => randomText(rng, 30)).join(" ") };

const json = trainBpe(words.split("\n"), { codes: 64, merges: 4000 });
const ours = parseTokenizer(json);
const rust = Rust.fromString(JSON.stringify(json));

console.log(`text            what      ours, thousand tokens/s    Rust    ours / Rust`);
for (const [name, text] of Object.entries(texts)) {
  const ids = ours.ids(text);
  const theirs = (await rust.encode(text, null, { addSpecialTokens: false })).getIds();
  if (JSON.stringify(ids) !== JSON.stringify(theirs)) throw new Error(`${name}: the ids differ`);
  const rounds: [string, () => unknown, () => Promise<unknown>][] = [
    ["encode", () => ours.ids(text), async () => (await rust.encode(text, null, { addSpecialTokens: false })).getIds()],
    ["decode", () => ours.decode(ids), () => rust.decode(ids, false)],
  ];
  for (const [what, mine, its] of rounds) {
    const bench = new Bench({ time: 1500, warmupTime: 300 }).add("ours", mine).add("rust", its);
    await bench.run();
    const [a, b] = bench.tasks.map((task) => {
      if (task.result.state !== "completed") throw new Error(`${task.name}: ${task.result.state}`);
      return ids.length / task.result.latency.p50;
    });
    console.log(
      `${name.padEnd(15)} ${what.padEnd(9)} ${a.toFixed(0).padStart(21)} ${b.toFixed(0).padStart(11)} ${(a / b).toFixed(2).padStart(12)}`,
    );
  }
}
