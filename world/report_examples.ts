// The report's picture grid: one row per example with source, action, truth and what each system drew, framed by the oracle's verdict; below it
// the CDM's scores for all candidates and the recognition weights over the true target.

import { escapeHtml, figure, section } from "./markup.ts";
import type { Example, System } from "./report.ts";

const dataUrl = /^data:image\/(?:png|jpeg|webp);base64,[A-Za-z0-9+/]+={0,2}$/;

/** Examples as a table, or nothing where there are none. Pictures that are no data URLs are left out, so the page never fetches anything. */
export function exampleSection(examples: readonly Example[]): string {
  if (!examples.length) return "";
  const k = Math.max(0, ...examples.map(({ candidates }) => candidates.length));
  const titles = ["Source", "Action", "Truth", "FT", "CWM", k ? `Best of ${k}` : "Best"];
  const head = titles.map((title) => `<th scope="col">${title}</th>`).join("");
  const grid = `<div class="scroll" tabindex="0" role="group" aria-label="Examples"><table class="pictures">
<caption>Test examples. Frame and sign say whether the oracle accepts the picture: the edit done and nothing else changed.</caption>
<thead><tr>${head}</tr></thead>
${examples.map((example, i) => row(example, i === 0)).join("\n")}
</table></div>`;
  return section(
    "Pictures",
    "Each row starts from the source picture and the action; the truth is one right result. FT learnt from labels only, CWM also from pairs that the CDM named; the best is the CWM drawing in which the CDM most clearly sees the action.",
    grid,
  );
}

function row(example: Example, open: boolean): string {
  const { action, cdm, family, id, pictures, success } = example;
  const best: System = success.cwm_k8 === undefined ? "cwm_k4" : "cwm_k8";
  const drawn = [
    picture(pictures.truth, `truth after: ${action}`),
    picture(pictures.ft, `FT drawing of: ${action}`, success.ft),
    picture(pictures.cwm, `CWM drawing of: ${action}`, success.cwm),
    picture(pictures.best, `best CWM drawing of: ${action}`, success[best]),
  ];
  const said = `<small>CDM says: ${escapeHtml(cdm)}</small><small>${escapeHtml(`${family}, ${id}`)}</small>`;
  return `<tbody><tr><td>${picture(pictures.source, `source of ${id}`)}</td><th scope="row">${escapeHtml(action)}${said}</th>${drawn
    .map((cell) => `<td>${cell}</td>`)
    .join("")}</tr>
<tr><td colspan="6">${more(example, open)}</td></tr></tbody>`;
}

function picture(url: string | undefined, alt: string, right?: boolean): string {
  if (!url || !dataUrl.test(url)) return `<span class="note">\u2013</span>`;
  const verdict = right === undefined ? "" : right ? "right" : "wrong";
  const words = verdict ? `<span class="verdict ${verdict}">${right ? "\u2713" : "\u2717"} ${verdict}</span>` : "";
  return `<img class="pixel ${verdict}" src="${url}" alt="${escapeHtml(verdict ? `${alt} (${verdict})` : alt)}">${words}`;
}

function more({ candidates, weights, grid, pictures }: Example, open: boolean): string {
  const heat = heatMap(weights, grid, pictures.truth);
  if (!candidates.length && !heat) return "";
  const scores = candidates.map(({ score }) => score);
  const best = scores.indexOf(Math.max(...scores));
  const strip = candidates.map(({ picture: url, score, success }, i) => {
    const label = `${figure(score, 3)}${i === best ? " (chosen)" : ""}`;
    return `<li>${picture(url, `candidate ${i + 1}, score ${figure(score, 3)}`, success)}<span>${label}</span></li>`;
  });
  const shown = heat ? [...strip, `<li class="heat">${heat}<span>recognition weight</span></li>`] : strip;
  const what = [candidates.length ? `${candidates.length} candidates with CDM scores` : "", heat ? "recognition weights" : ""];
  return `<details${open ? " open" : ""}><summary>${what.filter(Boolean).join(", ")}</summary><ul class="strip">${shown.join("\n")}</ul></details>`;
}

/** Weights as red over the true target; with up to 8 columns each cell also shows its number. */
function heatMap(weights: readonly number[], [rows, columns]: readonly [number, number], url: string): string {
  if (!weights.length || weights.length !== rows * columns || !dataUrl.test(url)) return "";
  const side = 120;
  const [w, h] = [side / columns, side / columns];
  const largest = Math.max(...weights, 1e-30);
  const cells = weights.map((weight, i) => {
    const [x, y] = [(i % columns) * w, Math.floor(i / columns) * h];
    const box = `<rect x="${x.toFixed(2)}" y="${y.toFixed(2)}" width="${w.toFixed(2)}" height="${h.toFixed(2)}" opacity="${((0.65 * weight) / largest).toFixed(3)}"/>`;
    const text = columns > 8 ? "" : `<text x="${(x + w / 2).toFixed(1)}" y="${(y + h / 2 + 4).toFixed(1)}">${figure(weight, 2)}</text>`;
    return box + text;
  });
  const height = (rows * h).toFixed(2);
  return `<svg viewBox="0 0 ${side} ${height}" role="img" aria-label="recognition weights over the target, largest ${figure(largest, 2)}"><image href="${url}" width="${side}" height="${height}" preserveAspectRatio="none"/>${cells.join("")}</svg>`;
}
