// The two text operations on a shader: rebinding one-line `alias` and `const` declarations by name and appending helpers, and turning
// the compiler's messages into one that quotes the line.
import type { Choice } from "./device.ts";
import { WorldlineError } from "./errors.ts";

/** The text that is compiled: aliases and consts rebound, helpers after the file, so that its line numbers stay true. */
export function assembleShader(choice: Choice, main: string, libs: readonly string[]): string {
  let text = main;
  const halves = new Set<string>();
  for (const [binding, dtype] of Object.entries(choice.dtypes)) {
    const type = choice.kernel.types[binding];
    if (typeof type !== "object") continue;
    if (dtype === "f16") halves.add(binding);
    if ("alias" in type && dtype !== "f32") text = replaceLine(text, "alias", type.alias, dtype, choice.key);
  }
  for (const [name, value] of Object.entries(choice.rebind)) text = replaceLine(text, "const", name, `${value}`, choice.key);
  if (halves.size && !/^\s*enable f16;/m.test(text)) text = `enable f16; ${text}`;
  return [text, ...libs].join("\n");
}

function replaceLine(text: string, kind: "alias" | "const", name: string, value: string, key: string): string {
  const pattern = new RegExp(`^${kind}\\s+${name}\\s*(:[^=]*)?=[^;]*;`, "m");
  if (!pattern.test(text)) throw new WorldlineError(`${key}: the shader has no line "${kind} ${name} = ...;" to rebind; add it`);
  return text.replace(pattern, (_, type?: string) => `${kind} ${name}${type ?? " "}= ${value};`);
}

/** File, line, text and message of the first error the compiler named. */
export function shaderProblem(choice: Choice, code: string, messages: readonly GPUCompilationMessage[], fallback: string): string {
  const { protocol, pathname } = choice.variant.source;
  const file = protocol === "data:" ? "generated text" : pathname.split("/").slice(-2).join("/");
  const m = messages.find((x) => x.type === "error");
  if (!m) return `${choice.key} (${file}) does not compile: ${fallback}`;
  const line = code.split("\n")[m.lineNum - 1]?.trim() ?? "";
  return `${choice.key} does not compile: ${file}:${m.lineNum}:${m.linePos}: ${m.message}\n    ${line}`;
}
