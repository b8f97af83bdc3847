// gpu.js in its WebGPU mode: what one gets without writing WGSL. One output value an invocation, f32; inputs go up and results come down.
import type { Data, PeerCase } from "./cases.ts";
import { type Engine, load, versionOf } from "./engine.ts";

type Rows = Float32Array[];
type Kernel = (...inputs: Rows[]) => Promise<Rows>;
interface GPUjs {
  createKernel(source: string, options: { output: number[]; constants: Record<string, number> }): Kernel;
}

const rows = (x: Float32Array, columns: number): Rows =>
  Array.from({ length: x.length / columns }, (_, r) => x.subarray(r * columns, (r + 1) * columns));

export async function open(folder: string): Promise<Engine> {
  const { GPU } = (await load(folder, "gpu.js")) as unknown as { GPU: new (options: { mode: string }) => GPUjs };
  const gpu = new GPU({ mode: "webgpu" });
  return {
    version: versionOf(folder, "gpu.js"),
    note: "inputs go up and results come down each time",
    prepare: async (c: PeerCase, d: Data) => {
      const w = c.work;
      if (w.op !== "matmul" || w.stored !== "f32") return undefined;
      // Given as text, because a compiled function is no longer the one that gpu.js can read.
      const source = `function (a, b) {
        let sum = 0;
        for (let i = 0; i < this.constants.K; i++) sum += a[this.thread.y][i] * b[i][this.thread.x];
        return sum;
      }`;
      const kernel = gpu.createKernel(source, { output: [w.N, w.M], constants: { K: w.K } });
      const [a, b] = [rows(d.x, w.K), rows(d.w, w.N)];
      const compute = async () => kernel(a, b);
      return {
        run: async () => void (await compute()),
        result: async () => Float32Array.from((await compute()).flatMap((row) => Array.from(row))),
      };
    },
  };
}
