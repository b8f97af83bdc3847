// Finds a key that occurs twice in one JSON object. JSON.parse keeps the last one in silence, which would hide a forged or broken header.

/** The first key repeated within any object of `text`, or null. `text` must already be known to be valid JSON. */
export function repeatedKey(text: string): string | null {
  const open: (Set<string> | null)[] = [];
  let keyNext = false;
  for (let i = 0; i < text.length; i++) {
    const c = text[i];
    if (c === "{" || c === "[") {
      open.push(c === "{" ? new Set() : null);
      keyNext = c === "{";
    } else if (c === "}" || c === "]") {
      open.pop();
      keyNext = false;
    } else if (c === ",") keyNext = open.at(-1) !== null;
    else if (c === '"') {
      const end = stringEnd(text, i);
      const keys = open.at(-1);
      if (keyNext && keys) {
        const key = text.slice(i, end).includes("\\") ? (JSON.parse(text.slice(i, end)) as string) : text.slice(i + 1, end - 1);
        if (keys.has(key)) return key;
        keys.add(key);
        keyNext = false;
      }
      i = end - 1;
    }
  }
  return null;
}

function stringEnd(text: string, begin: number): number {
  let i = begin + 1;
  while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i + 1;
}
