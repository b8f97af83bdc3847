// The recognition model: how much each picture token of the target differs from the source (paper section 3.2, equation 2). A cell's weight
// is the squared L2 distance of the pre-quantised features of the frozen picture tokenizer, d(l) = |z_source(l) - z_target(l)|^2.
// The paper leaves normalisation open; here w = epsilon + (1 - epsilon) d^exponent / divisor, with the mean, the largest or 1 as divisor.

import { WorldlineError } from "../engine/errors.ts";

export const normalisations = ["mean", "max", "none"] as const;
export type Normalisation = (typeof normalisations)[number];

export interface RecognitionOptions {
  /** Share of the plain loss, which an unchanged cell keeps: 1 switches the weights off, 0 is the bare distance. */
  readonly epsilon: number;
  /** The divisor is raised to at least this, so that pictures without change keep small weights. */
  readonly floor: number;
  /** What the distances are divided by: their mean (default: weights of mean 1), their largest (largest weight 1), or nothing. */
  readonly normalisation?: Normalisation;
  /** The power of the distance: below 1 evens the weights out, above 1 sharpens them (default 1). */
  readonly exponent?: number;
}

export const defaultRecognition: RecognitionOptions = { epsilon: 0.8, floor: 0 };

/** Squared distances per cell of two feature maps (cells x dim). */
export function featureDistances(source: Float32Array, target: Float32Array, dim: number): Float32Array {
  if (source.length !== target.length || source.length % dim)
    throw new WorldlineError(
      `recognition: features of ${source.length} and ${target.length} values are not of one grid with ${dim} a cell; use pictures of one size`,
    );
  const out = new Float32Array(source.length / dim);
  for (let l = 0; l < out.length; l++) {
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += (source[l * dim + d] - target[l * dim + d]) ** 2;
    out[l] = sum;
  }
  return out;
}

/** Loss weights per cell; 1 everywhere where nothing differs and no floor acts. */
export function recognitionWeights(distances: Float32Array, options: RecognitionOptions): Float32Array {
  const { epsilon, floor, normalisation = "mean", exponent = 1 } = options;
  if (!(exponent > 0)) throw new WorldlineError(`recognition: the exponent is ${exponent}; give a number above 0`);
  const raised = exponent === 1 ? distances : distances.map((d) => d ** exponent);
  const divisor = Math.max(divisorOf(raised, normalisation), floor);
  if (divisor === 0) return new Float32Array(distances.length).fill(1);
  return raised.map((d) => epsilon + ((1 - epsilon) * d) / divisor);
}

function divisorOf(values: Float32Array, normalisation: Normalisation): number {
  if (normalisation === "none") return 1;
  if (normalisation === "max") return values.reduce((a, d) => Math.max(a, d), 0);
  return values.reduce((a, d) => a + d, 0) / values.length;
}
