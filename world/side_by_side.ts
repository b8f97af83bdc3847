// Work on many items, a few at a time.

/** Runs `work` for 0 ... count - 1, `jobs` at a time. After an error nothing new is started; it is thrown when all that ran have ended. */
export async function sideBySide(count: number, jobs: number, work: (i: number) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    try {
      while (next < count) await work(next++);
    } catch (error) {
      next = count;
      throw error;
    }
  };
  for (const end of await Promise.allSettled(Array.from({ length: Math.min(count, jobs) }, worker)))
    if (end.status === "rejected") throw end.reason;
}
