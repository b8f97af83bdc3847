// A slow evaluation for the kill test of test/evaluation.test.ts: node --import tsx test/evaluation_run.ts <folder with records.jsonl> <out>
import { join } from "node:path";
import { copySystem, folderSystem, measureSystems, pixelMetrics } from "../world/bench.ts";
import { summarise } from "../world/bench_results.ts";
import { readRecords, type TripletRecord, writeText } from "../world/records.ts";

const [folder, out] = process.argv.slice(2);
const records = await readRecords<TripletRecord>(join(folder, "records.jsonl"), ["action"]);
const slow = { name: "slow", of: () => new Promise<number>((done) => setTimeout(() => done(1), 15)) };
const systems = [copySystem, folderSystem("ours", join(folder, "ours"))];
console.log("started");
const samples = await measureSystems(records, systems, out, { metrics: [...pixelMetrics, slow] });
await writeText(join(out, "results.json"), JSON.stringify(summarise(samples, ["copy", "ours"], records.length)));
