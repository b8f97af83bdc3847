// Writes the README's file list: one line for each source file, taken from the sentence the file opens with; kernels by folder.
//   node --import tsx setup/file_list.ts          rewrites the list between the markers in README.md
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);
const folders = [
  "kernels",
  "engine",
  "weights",
  "models",
  "tokenizer",
  "train",
  "world",
  "cli",
  "web",
  "setup",
  "bench",
  "examples",
  "test",
];
export const begin = "<!-- files -->";
export const end = "<!-- end of files -->";

/** The list as markdown. */
export function fileList(): string {
  const listed = execFileSync("git", ["ls-files", "--cached", "--others", "--exclude-standard"], {
    cwd: fileURLToPath(root),
    encoding: "utf8",
  });
  const files = listed.split("\n").filter((f) => /\.(ts|mjs|sh|wgsl)$/.test(f));
  const lines: string[] = [];
  for (const folder of folders) {
    const own = files.filter((f) => f.startsWith(`${folder}/`)).sort();
    if (own.length) lines.push("", `**${folder}/**`, "");
    for (const f of own) {
      const shown = folder !== "kernels" || /^kernels\/(lib\/)?[^/]+$/.test(f) || f.split("/")[2] === `${f.split("/")[1]}.ts`;
      if (shown)
        lines.push(
          `- \`${folder === "kernels" && f.split("/").length > 2 && !f.includes("/lib/") ? f.split("/").slice(0, 2).join("/") + "/" : f}\` ${opening(f)}`,
        );
    }
  }
  return lines.join("\n").trim();
}

/** The first sentence of a file's opening comment. */
function opening(file: string): string {
  const text = readFileSync(new URL(file, root), "utf8");
  const lines: string[] = [];
  for (const line of text.split("\n")) {
    const comment = /^(?:\/\/|#(?!!))\s?(.*)$/.exec(line);
    if (comment) lines.push(comment[1].trim());
    else if (!line.startsWith("#!")) break;
  }
  const sentence = lines
    .join(" ")
    .split(/(?<=[.:;])(?<!\bal\.)\s/)[0]
    .replace(/[.:;]$/, "");
  return sentence;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = new URL("README.md", root);
  const text = readFileSync(path, "utf8");
  const [head, rest] = text.split(begin);
  const tail = rest.split(end)[1];
  writeFileSync(path, `${head}${begin}\n${fileList()}\n${end}${tail}`);
}
