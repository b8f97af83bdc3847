// An annotation in small batches for the kill test of test/annotate.test.ts: node --import tsx test/annotate_run.ts <pairs> <out>
import { openDevice } from "../engine/node.ts";
import { AnswerStore } from "../world/answers.ts";
import { type Answer, annotate } from "../world/cdm.ts";
import { CodeStore } from "../world/codes.ts";
import { loadModel } from "../world/model.ts";
import { readRecords, writeRecords } from "../world/records.ts";

const [pairsFile, out] = process.argv.slice(2);
const device = await openDevice();
const model = await loadModel(device, new URL("../world/tabletop/base", import.meta.url).pathname);
const codes = await CodeStore.open(device, model, `${out}.codes`);
const pairs = await readRecords(pairsFile);
await codes.add(pairs.flatMap((p) => [p.source, p.target]));
const answers = await AnswerStore.open<Answer>(`${out}.answers`);
console.log("started");
const sampling = { temperature: 0.8, seed: 3 };
// Slow, so that there is time to be killed between two batches.
const onProgress = () => void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
await writeRecords(out, await annotate(device, model, codes, pairs, { sampling, maxTokens: 12, batch: 4, answers, onProgress }));
