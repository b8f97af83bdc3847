// Makes the README's picture out of a demo's report: one row for each of the first examples, source, truth and what the models drew, framed green
// where the oracle calls it right.   node --import tsx examples/demo_picture.ts runs/demo/report.json docs/demo.png [rows]
import { readFileSync } from "node:fs";
import { decodePicture, writePng } from "../world/pictures.ts";
import type { Report } from "../world/report.ts";
import { borderColours, sheet } from "../world/sheets.ts";

const [from, to, count = "5"] = process.argv.slice(2);
if (!from || !to) {
  console.error("usage: demo_picture.ts <report.json> <out.png> [rows]");
  process.exit(1);
}
const report = JSON.parse(readFileSync(from, "utf8")) as Report;
const picture = (url: string) => decodePicture(Buffer.from(url.split(",")[1], "base64"), "a picture of the report");
const chosen = report.examples.filter((_, i) => i % 2 === 0).slice(0, Number(count));
const rows = [];
for (const e of chosen) {
  const p = e.pictures;
  const framed = async (url: string | undefined, right: boolean | undefined) =>
    url ? { picture: await picture(url), border: right ? borderColours.right : borderColours.wrong } : null;
  rows.push({
    label: e.action,
    cells: [
      await picture(p.source),
      await picture(p.truth),
      await framed(p.ft, e.success.ft),
      await framed(p.cwm, e.success.cwm),
      await framed(p.best, e.success.cwm_k8),
    ],
  });
}
await writePng(to, sheet({ columns: ["source", "truth", "labels only", "CWM", "best of 8"], rows, scale: 2 }));
console.log(`${to}: ${rows.length} rows`);
