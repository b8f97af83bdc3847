// The long fuzz run: damaged safetensors headers, damaged tokenizer.json files, and random strings against the Rust library.
//   npm run fuzz -- [count] [seed]      default 100,000 mutations per parser and 20,000 strings, seed 1; about four minutes on two cores
import { fuzzSafetensors, fuzzTokenizer } from "./fuzz_parsers.ts";
import { compareStrings } from "./fuzz_strings.ts";

const [count, seed] = [Number(process.argv[2] ?? 100_000), Number(process.argv[3] ?? 1)];
if (!Number.isSafeInteger(count) || !Number.isSafeInteger(seed) || count < 1) {
  console.error("npm run fuzz -- [count] [seed]: whole numbers are needed, the count from 1 up");
  process.exit(1);
}

const begin = performance.now();
const seconds = () => ((performance.now() - begin) / 1000).toFixed(0);
let shown = 0;
const progress = (what: string, of: number) => (done: number) => {
  if (performance.now() - shown < 5000 && done < of) return;
  shown = performance.now();
  console.error(`${what} ${done}/${of}, ${seconds()} s`);
};

let failed = false;
for (const [name, run] of [
  ["safetensors", fuzzSafetensors],
  ["tokenizer.json", fuzzTokenizer],
] as const) {
  const r = await run(count, seed, progress(name, count));
  console.log(
    `${name}: ${r.rounds} mutations, seed ${seed}: ${r.refused} refused in one sentence, ${r.rounds - r.refused} read; slowest ${r.slowest.toFixed(0)} ms, memory at most ${(r.memory / 2 ** 20).toFixed(0)} MiB more`,
  );
  for (const fault of r.faults) console.log(fault);
  failed ||= r.faults.length > 0;
}
const strings = Math.ceil(count / 5);
const differences = await compareStrings(strings, seed, progress("strings", strings));
console.log(`strings: ${strings} against the Rust library, seed ${seed}: ${differences.length} differences`);
for (const line of differences) console.log(line);
process.exitCode = failed || differences.length ? 1 : 0;
