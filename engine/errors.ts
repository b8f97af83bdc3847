// Errors people meet: one sentence with what was given, what was needed and what to do.

/** Anything wrong that the caller can mend; its message is shown without a stack. */
export class WorldlineError extends Error {
  override name = "WorldlineError";
}

/** Shapes that do not fit an operation. */
export class ShapeError extends WorldlineError {
  override name = "ShapeError";

  constructor(op: string, shapes: Record<string, { readonly shape: readonly number[] }>, hint: string) {
    const given = Object.entries(shapes).map(([name, t]) => `${name} (${t.shape.join(", ")})`);
    super(`${op}: ${given.join(" and ")}: ${hint}`);
  }
}

/** Bytes as people read them. */
export function bytesText(bytes: number): string {
  return bytes < 2 ** 30 ? `${(bytes / 2 ** 20).toFixed(2)} MiB` : `${(bytes / 2 ** 30).toFixed(2)} GiB`;
}
