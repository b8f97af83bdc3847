// A module is a plain object whose fields are tensors, modules or lists of them; the dotted path of a tensor is its name in the checkpoint.
import { WorldlineError } from "./errors.ts";
import { Tensor } from "./tensor.ts";

/** Stored tensors of a module by dotted path, in field order. A tensor reached twice (tied weights) is listed once. */
export function parameters(module: object): Map<string, Tensor> {
  const found = new Map<string, Tensor>();
  walk(module, "", found, new Set(), []);
  return found;
}

function walk(node: unknown, path: string, found: Map<string, Tensor>, seen: Set<Tensor>, above: object[]): void {
  if (node instanceof Tensor) {
    if (node.storage && !seen.has(node)) found.set(path, node);
    seen.add(node);
    return;
  }
  if (typeof node !== "object" || node === null || ArrayBuffer.isView(node)) return;
  if (above.includes(node)) throw new WorldlineError(`module: "${path}" leads back to a module that holds it; keep modules a tree`);
  for (const [key, value] of Object.entries(node)) walk(value, path ? `${path}.${key}` : key, found, seen, [...above, node]);
}

/** Lets an optimizer change the tensors whose name matches, and no others: true for all, false for none, or patterns on the dotted path. */
export function setTrainable(module: object, which: boolean | RegExp | readonly RegExp[]): void {
  const patterns = [which].flat();
  for (const [name, t] of parameters(module)) t.trainable = patterns.some((p) => (typeof p === "boolean" ? p : p.test(name)));
}

/** A pattern on parameter names out of an option's text. */
export function patternOf(option: string, text: string): RegExp {
  try {
    return new RegExp(text);
  } catch {
    throw new WorldlineError(`${option}: "${text}" is no regular expression; correct it`);
  }
}

/** The tensors that an optimizer may change. */
export function trainable(module: object): Map<string, Tensor> {
  return new Map([...parameters(module)].filter(([, t]) => t.trainable));
}
