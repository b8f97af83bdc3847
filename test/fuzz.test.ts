// A short run of the fuzzing that `npm run fuzz` does at length: damaged safetensors headers and tokenizer.json files, and random strings through every
// supported pipeline against the Rust library.

import { test } from "uvu";
import * as assert from "uvu/assert";
import { type FuzzResult, fuzzSafetensors, fuzzTokenizer } from "./fuzz_parsers.ts";
import { compareStrings, pipelines } from "./fuzz_strings.ts";

const fine = (r: FuzzResult, least: number) => {
  assert.equal(r.faults, []);
  assert.ok(r.refused > least && r.refused < r.rounds, `${r.refused} of ${r.rounds} were refused`);
  assert.ok(r.memory < 256 * 2 ** 20, `${r.memory} bytes more`);
};

test("4,000 damaged safetensors headers: one sentence or a consistent file", async () => fine(await fuzzSafetensors(4000, 7), 3000));

test("4,000 damaged tokenizer.json files: one sentence or a tokenizer that works", async () => fine(await fuzzTokenizer(4000, 7), 2000));

test("4,000 random strings through all pipelines have the Rust library's ids, texts and streams", async () => {
  assert.ok(Object.keys(pipelines()).length > 40);
  assert.equal(await compareStrings(4000, 7), []);
});

test.run();
