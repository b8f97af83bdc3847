// The recognition model: how much each picture token of the target differs from the source (paper section 3.2, equation 2). A cell's weight
// is the squared L2 distance of the pre-quantised features of the frozen picture tokenizer, w(l) = |z_source(l) - z_target(l)|^2.
// The paper leaves normalisation open; here weights are divided by their mean and mixed with 1: w' = epsilon + (1 - epsilon) w / mean(w).

export interface RecognitionOptions {
  /** Share of the plain loss: 1 switches the weights off, 0 is the bare distance. */
  readonly epsilon: number;
  /** The mean is raised to at least this, so that pictures without change keep small weights. */
  readonly floor: number;
}

export const defaultRecognition: RecognitionOptions = { epsilon: 0.8, floor: 0 };

/** Squared distances per cell of two feature maps (cells x dim). */
export function featureDistances(source: Float32Array, target: Float32Array, dim: number): Float32Array {
  const out = new Float32Array(source.length / dim);
  for (let l = 0; l < out.length; l++) {
    let sum = 0;
    for (let d = 0; d < dim; d++) sum += (source[l * dim + d] - target[l * dim + d]) ** 2;
    out[l] = sum;
  }
  return out;
}

/** Loss weights per cell, with mean 1 unless the floor acts. */
export function recognitionWeights(distances: Float32Array, { epsilon, floor }: RecognitionOptions): Float32Array {
  const mean = Math.max(distances.reduce((a, d) => a + d, 0) / distances.length, floor);
  if (mean === 0) return new Float32Array(distances.length).fill(1);
  return distances.map((d) => epsilon + ((1 - epsilon) * d) / mean);
}
