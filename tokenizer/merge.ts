// Byte-pair merging of one piece: as long as a pair of neighbours has a merge, the merge of lowest rank is applied, leftmost first. A heap of
// candidate pairs over a linked list, so that a piece of n symbols costs n log n.

/** Merges by pair of ids: `get(left, right)` gives the rank (earlier is lower) and the id of the result. */
export class Merges {
  readonly #size: number;
  readonly #ranks = new Map<number, number>();
  readonly #results: number[] = [];

  /** `size`: all ids are below it. */
  constructor(size: number) {
    this.#size = size;
  }

  /** Adds the next merge in rank order; false where the pair is known already. */
  add(left: number, right: number, result: number): boolean {
    const key = left * this.#size + right;
    if (this.#ranks.has(key)) return false;
    this.#ranks.set(key, this.#results.length);
    this.#results.push(result);
    return true;
  }

  /** Rank of a pair, or -1. */
  rank(left: number, right: number): number {
    return this.#ranks.get(left * this.#size + right) ?? -1;
  }

  /** Id that the merge of this rank makes. */
  result(rank: number): number {
    return this.#results[rank];
  }
}

/** Applies merges to a piece given as ids; the input array is used up. */
export function mergePiece(ids: number[], merges: Merges): number[] {
  const n = ids.length;
  if (n < 2) return ids;
  const next = new Int32Array(n);
  const previous = new Int32Array(n);
  for (let i = 0; i < n; i++) {
    next[i] = i + 1 < n ? i + 1 : -1;
    previous[i] = i - 1;
  }
  // One number per candidate orders by rank, then by place: n is below 2^31, ranks below 2^21.
  const heap: number[] = [];
  const offer = (i: number) => {
    const rank = i >= 0 && next[i] >= 0 ? merges.rank(ids[i], ids[next[i]]) : -1;
    if (rank >= 0) push(heap, rank * 2 ** 31 + i);
  };
  for (let i = 0; i + 1 < n; i++) offer(i);
  while (heap.length > 0) {
    const key = pop(heap);
    const rank = Math.floor(key / 2 ** 31);
    const i = key - rank * 2 ** 31;
    const j = ids[i] < 0 ? -1 : next[i];
    if (j < 0 || merges.rank(ids[i], ids[j]) !== rank) continue;
    ids[i] = merges.result(rank);
    ids[j] = -1;
    next[i] = next[j];
    if (next[j] >= 0) previous[next[j]] = i;
    offer(previous[i]);
    offer(i);
  }
  return ids.filter((id) => id >= 0);
}

function push(heap: number[], key: number): void {
  let i = heap.length;
  heap.push(key);
  while (i > 0) {
    const up = (i - 1) >> 1;
    if (heap[up] <= key) break;
    heap[i] = heap[up];
    i = up;
  }
  heap[i] = key;
}

function pop(heap: number[]): number {
  const least = heap[0];
  const key = heap.pop() as number;
  const n = heap.length;
  if (n === 0) return least;
  let i = 0;
  for (let child = 1; child < n; child = 2 * i + 1) {
    if (child + 1 < n && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= key) break;
    heap[i] = heap[child];
    i = child;
  }
  heap[i] = key;
  return least;
}
