// The frame that every stage's report shares: one HTML file with a title, sections, pictures as data URLs and, last, how it was made; nothing outside is loaded.
import type { Picture } from "../tokenizer/pixels.ts";
import { thumbnail } from "./contact_sheet.ts";
import { documentHtml, escapeHtml, section, table } from "./markup.ts";
import { pngDataUrl } from "./sheets.ts";

/** Where a run came from, shown at the end: name and value (command, seed, device, versions). */
export type Origin = Readonly<Record<string, string>>;

/** A page. `lead` is one sentence in plain text; sections are markup, empty ones left out. */
export function pageHtml(title: string, lead: string, sections: readonly string[], origin: Origin): string {
  const facts = table(
    "How it was made",
    [{ title: "what" }, { title: "value" }],
    Object.entries(origin).map(([name, value]) => [escapeHtml(name), `<code>${escapeHtml(value)}</code>`]),
  );
  const opening = `<h1>${escapeHtml(title)}</h1>`;
  const answer = lead ? `<p class="answer">${escapeHtml(lead)}</p>` : "";
  return documentHtml(title, [opening, answer, ...sections, section("Run", "", facts)].filter(Boolean).join("\n"));
}

/** A picture of a row: made small where it is large; `note` stands below its name. `chosen` frames it. */
export interface Shot {
  readonly name: string;
  readonly picture: Picture | { readonly url: string };
  readonly note?: string;
  readonly chosen?: boolean;
}

/** Pictures side by side under a heading. */
export function shots(heading: string, list: readonly Shot[]): string {
  const cells = list.map(({ name, picture, note = "", chosen }) => {
    const url = "url" in picture ? picture.url : pngDataUrl(thumbnail(picture));
    const alt = `${name}: ${heading}`;
    return `<figure${chosen ? ' class="chosen"' : ""}><img src="${escapeHtml(url)}" alt="${escapeHtml(alt)}" loading="lazy"><figcaption>${escapeHtml(name)}<br>${escapeHtml(note)}</figcaption></figure>`;
  });
  return `<h3>${escapeHtml(heading)}</h3><div class="shots">${cells.join("")}</div>`;
}
