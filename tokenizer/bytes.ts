// The GPT-2 byte table: every byte has one printable character, so that tokens can be written as text. Bytes 33-126, 161-172 and 174-255 stand for
// themselves, the other 68 in rising order for U+0100 and up (space is U+0120, newline U+010A).

/** Bytes in the order of a byte-level vocabulary: the printable ones, then the 68 others. */
export const byteOrder: readonly number[] = bytesInOrder();

/** Byte -> printable character. */
export const byteCharacters: readonly string[] = characters();

const byteOf = new Map(byteCharacters.map((character, byte) => [character, byte]));

/** The bytes that a token's characters stand for, or null where one of them stands for no byte. */
export function tokenBytes(token: string): Uint8Array | null {
  const bytes = [...token].map((character) => byteOf.get(character));
  return bytes.includes(undefined) ? null : Uint8Array.from(bytes as number[]);
}

/** Bytes as token text. */
export function tokenText(bytes: Iterable<number>): string {
  let text = "";
  for (const byte of bytes) text += byteCharacters[byte];
  return text;
}

function isPrintable(byte: number): boolean {
  return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

function bytesInOrder(): number[] {
  const all = Array.from({ length: 256 }, (_, byte) => byte);
  return [...all.filter(isPrintable), ...all.filter((byte) => !isPrintable(byte))];
}

function characters(): string[] {
  const table: string[] = [];
  let next = 256;
  for (let byte = 0; byte < 256; byte++) table.push(String.fromCharCode(isPrintable(byte) ? byte : next++));
  return table;
}
