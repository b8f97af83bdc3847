// OpenCV's Farneback (opencv-js, WebAssembly on one core) as a judge of our optical flow: test/flow.test.ts.
import { flowErrors, type Motion } from "./flow_motions.ts";

interface Mat {
  readonly data: Uint8Array;
  readonly data32F: Float32Array;
  delete(): void;
}

interface OpenCv {
  readonly Mat: new (rows?: number, columns?: number, type?: number) => Mat;
  readonly CV_8UC1: number;
  readonly onRuntimeInitialized?: () => void;
  calcOpticalFlowFarneback(
    previous: Mat,
    next: Mat,
    flow: Mat,
    scale: number,
    levels: number,
    window: number,
    iterations: number,
    polyN: number,
    polySigma: number,
    flags: number,
  ): void;
}

const loaded = (await import("@techstark/opencv-js")) as unknown as { default?: OpenCv | Promise<OpenCv> };
const cv = await load(loaded.default ?? (loaded as unknown as OpenCv));

async function load(given: OpenCv | Promise<OpenCv>): Promise<OpenCv> {
  if (given instanceof Promise) return await given;
  if (!given.Mat)
    await new Promise<void>((ready) => {
      (given as { onRuntimeInitialized?: () => void }).onRuntimeInitialized = ready;
    });
  return given;
}

export interface FarnebackSettings {
  readonly levels: number;
  readonly polyN: number;
  readonly polySigma: number;
}

export interface Flow {
  readonly flow: Float32Array;
  readonly errors: ReturnType<typeof flowErrors>;
  readonly milliseconds: number;
}

/** Farneback's flow of a motion with a window of 15 pixels and 3 iterations. */
export function farneback(motion: Motion, { levels, polyN, polySigma }: FarnebackSettings): Flow {
  const { side } = motion;
  const [a, b] = [0, 1].map(() => new cv.Mat(side, side, cv.CV_8UC1));
  const out = new cv.Mat();
  try {
    a.data.set(motion.first);
    b.data.set(motion.second);
    const begin = performance.now();
    cv.calcOpticalFlowFarneback(a, b, out, 0.5, levels, 15, 3, polyN, polySigma, 0);
    const milliseconds = performance.now() - begin;
    const flow = out.data32F.slice();
    return { flow, errors: flowErrors(motion, flow), milliseconds };
  } finally {
    for (const mat of [a, b, out]) mat.delete();
  }
}
