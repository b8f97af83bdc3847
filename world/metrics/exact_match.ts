// Exact match of two actions, up to case, spaces and a final full stop.

const plain = (text: string) =>
  text
    .trim()
    .toLowerCase()
    .replace(/\s+/g, " ")
    .replace(/\s*\.$/, "");

/** 1 where the two say the same in the same words, else 0. */
export function exactMatch(prediction: string, target: string): number {
  return plain(prediction) === plain(target) ? 1 : 0;
}
