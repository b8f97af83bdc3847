// Writes the three files of a new kernel: a shader, its description with a second variant, and its check. They pass `worldline bench check` as
// they stand, and are then changed into what is wanted.
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { WorldlineError } from "../engine/errors.ts";

const own = fileURLToPath(new URL("../kernels/", import.meta.url));

/** Makes <parent>/<name>/ with four files and returns their paths. `parent` is kernels/ unless given. */
export function scaffold(name: string, parent: string = own): string[] {
  // An installed package has JavaScript alone, and its own folder goes with the next update.
  const packaged = import.meta.url.endsWith(".js");
  if (packaged && resolve(parent) === resolve(own))
    throw new WorldlineError(`bench new: give --in, a folder of your own for ${name}, as in \`worldline bench new ${name} --in kernels\``);
  const end = packaged ? "js" : "ts";
  if (!/^[a-z][a-z0-9_]*$/.test(name))
    throw new WorldlineError(
      `bench new: "${name}" is no name for a kernel; use small letters, digits and _, a letter first, as in row_sum`,
    );
  const folder = join(resolve(parent), name);
  if (existsSync(folder)) throw new WorldlineError(`bench new: ${folder} exists already; choose another name`);
  const from = resolve(parent) === resolve(own) ? "../kernel.ts" : "worldline/kernel";
  const files: [string, string][] = [
    [`${name}.wgsl`, shader],
    [`${name}_vec4.wgsl`, shaderVec4],
    [`${name}.${end}`, description(name, from)],
    [`${name}.check.${end}`, packaged ? plain(check(name, from)) : check(name, from)],
  ];
  mkdirSync(folder, { recursive: true });
  try {
    return files.map(([file, text]) => {
      writeFileSync(join(folder, file), text);
      return join(folder, file);
    });
  } catch (cause) {
    rmSync(folder, { recursive: true, force: true });
    throw cause;
  }
}

/** The same without types. */
const plain = (text: string) =>
  text
    .replace(/\((\w+) as number\)/g, "$1")
    .replace(/ as Float32Array/g, "")
    .replace(/\.ts"/g, '.js"');

const camel = (name: string) => name.replace(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase()).replace(/_/g, "");

const shader = `// y = scale * x. One invocation writes one element.
struct Params { n: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i < p.n) { y[i] = p.scale * x[i]; }
}
`;

const shaderVec4 = `// y = scale * x. One invocation writes four elements.
struct Params { n: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i < p.n / 4u) { y[i] = p.scale * x[i]; }
}
`;

const description = (name: string, from: string) => `// y = scale * x: say here what the kernel is for.
import { grid2d, kernel } from "${from}";

export const ${camel(name)} = kernel({
  name: "${name}",
  source: new URL("./${name}.wgsl", import.meta.url),
  lib: ["grid"],
  reads: ["x"],
  writes: ["y"],
  params: { n: "u32", scale: "f32" },
  consts: { WG: 64 },
  tries: { WG: [32, 128, 256] },
  grid: ({ n }, { WG }) => grid2d(Math.ceil(n / WG)),
  variants: [
    {
      name: "vec4",
      source: new URL("./${name}_vec4.wgsl", import.meta.url),
      lib: ["grid"],
      when: ({ n }) => n % 4 === 0,
      consts: { WG: 64 },
      tries: { WG: [32, 128, 256] },
      grid: ({ n }, { WG }) => grid2d(Math.ceil(n / 4 / WG)),
    },
  ],
});
`;

const check = (name: string, from: string) => `// What right means: plain loops in f64.
import { check } from "${from}";
import { ${camel(name)} } from "./${name}.ts";

export default check({
  kernel: ${camel(name)},
  cases: [{ n: 1 }, { n: 77 }, { n: 1000 }],
  bench: [{ n: 1 << 16 }, { n: 1 << 20 }],
  inputs: ({ n }, rng) => ({ x: rng.normals(n), scale: 0.5 }),
  outputs: ({ n }) => ({ y: n }),
  reference: (_, { x, scale }) => ({ y: Float64Array.from(x as Float32Array, (v) => (scale as number) * v) }),
  tolerance: { f32: 1e-6 },
  flops: ({ n }) => n,
  bytes: ({ n }) => 8 * n,
});
`;
