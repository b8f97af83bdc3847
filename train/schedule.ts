// Learning-rate schedules: linear warm-up, then cosine, linear or constant, down to a floor.

export interface Schedule {
  readonly learningRate: number;
  readonly steps: number;
  /** Share of the steps spent warming up; `warmupSteps`, where given, counts instead. */
  readonly warmupRatio: number;
  readonly warmupSteps?: number;
  readonly type: "cosine" | "linear" | "constant";
  /** The last learning rate as a share of the first. */
  readonly floor: number;
}

/** Learning rate of step i (from 0). */
export function rateAt(s: Schedule, i: number): number {
  const warm = s.warmupSteps ?? Math.round(s.steps * s.warmupRatio);
  if (i < warm) return (s.learningRate * (i + 1)) / warm;
  if (s.type === "constant") return s.learningRate;
  const t = Math.min(1, (i - warm) / Math.max(1, s.steps - warm));
  const shape = s.type === "cosine" ? 0.5 * (1 + Math.cos(Math.PI * t)) : 1 - t;
  return s.learningRate * (s.floor + (1 - s.floor) * shape);
}
