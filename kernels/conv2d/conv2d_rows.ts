// Texts of the 3x3 convolution of stride 1 for subgroups of 8, unrolled: one subgroup owns 8 x 8 output pixels. Each lane holds a column of
// pixels; for the three taps of a row the columns move one lane along, and for the three rows of taps its pixels move one row up, so that a
// pixel is loaded once for the nine, and a weight once for 64 pixels. `rows` makes 32 output channels, four a lane, with the pixels broadcast; `narrow` makes four, each lane its own pixels, with
// the weights broadcast.

const list = (n: number, item: (i: number) => string, by: string): string => Array.from({ length: n }, (_, i) => item(i)).join(by);
const lines = (n: number, line: (i: number) => string): string => list(n, line, "\n");

/** WGSL for 32 output channels a subgroup of 8 lanes; `bench source` prints it. */
export function conv2dRows(): string {
  return convolution(32, {
    start: `  let column = tile / tiles * 32u + lane * 4u;
${lines(4, (c) => `  let w${c} = min(column + ${c}u, p.O - 1u) * 9u * I;`)}
${lines(64, (i) => `  var s${i} = vec4f();`)}`,
    tap: `${lines(4, (c) => `        let b${c} = w[w${c} + tap];`)}
${lines(4, (i) => `        let c${i} = vec4f(${list(4, (c) => `b${c}[${i}]`, ", ")});`)}
${lines(64, (i) => {
  const product = (k: number) => `subgroupBroadcast(a${i >> 3}[${k}], ${i & 7}u) * c${k}`;
  return `        s${i} += (${product(0)} + ${product(1)}) + (${product(2)} + ${product(3)});`;
})}`,
    end: `  var sums = array<vec4f, 64>(${list(64, (i) => `s${i}`, ", ")});
  if (column >= p.O) { return; }
  for (var i = 0u; i < 64u; i++) { put(((start + top + i / 8u) * p.W + left + i % 8u) * (p.O / 4u) + column / 4u, column / 4u, sums[i]); }`,
  });
}

/** WGSL for four output channels a subgroup of 8 lanes; `bench source` prints it. */
export function conv2dNarrow(): string {
  return convolution(4, {
    start: `  let column = tile / tiles * 4u;
  let w0 = (column + lane % 4u) * 9u * I;
${lines(8, (j) => `  var s${j} = vec4f();`)}`,
    tap: `        let b = w[w0 + tap];
${lines(4, (k) => `        let c${k} = vec4f(${list(4, (o) => `subgroupBroadcast(b[${k}], ${o}u)`, ", ")});`)}
${lines(8, (j) => `        s${j} += (a${j}.x * c0 + a${j}.y * c1) + (a${j}.z * c2 + a${j}.w * c3);`)}`,
    end: lines(8, (j) => `  put(((start + top + ${j}u) * p.W + left + lane) * (p.O / 4u) + column / 4u, column / 4u, s${j});`),
  });
}

interface Parts {
  /** Declares `column`, the first output channel of the lane, the places of weights and the sums. */
  readonly start: string;
  /** Adds pixels a0 ... a7 (vec4 of channels, one row each) times the weights at `tap` to the sums. */
  readonly tap: string;
  readonly end: string;
}

function convolution(outputs: number, { start, tap, end }: Parts): string {
  return `enable subgroups;
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, up: u32, bias: u32, residual: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read> r: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(5) var<uniform> p: Params;

fn put(at: u32, o: u32, value: vec4f) {
  var sum = value;
  if (p.bias == 1u) { sum += b[o]; }
  if (p.residual == 1u) { sum += r[at]; }
  if (p.acc == 1u) { sum += y[at]; }
  y[at] = sum;
}

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let across = p.W / 8u;
  let tiles = p.B * (p.H / 8u) * across;
  let tile = group_index(group, groups);
  if (tile >= tiles * ((p.O + ${outputs - 1}u) / ${outputs}u)) { return; }
  let left = tile % across * 8u;
  let top = tile / across % (p.H / 8u) * 8u;
  let start = tile % tiles / (across * (p.H / 8u)) * p.H;
  let I = p.I / 4u;
  // Lane l starts one pixel to the left of its column and keeps ten rows, of which eight are used at a time; the two pixels right of the eight
  // columns are kept apart, lane j for row j of the eight, the two rows below in lanes 0 and 1.
  let at = left + lane - 1u;
  let inside = at < p.W;
  let beyond = left + 8u < p.W;
${lines(
  10,
  (j) => `  let h${j} = inside && top + ${j}u - 1u < p.H;
  let x${j} = select(0u, ((start + top + ${j}u - 1u) * p.W + at) * I, h${j});`,
)}
${lines(
  2,
  (i) => `  let edge_here${i} = top + lane + ${8 * i}u - 1u < p.H${i ? " && lane < 2u" : ""};
  let edge${i} = select(0u, ((start + top + lane + ${8 * i}u - 1u) * p.W + left + 7u) * I, edge_here${i});
  let next${i} = select(edge${i}, edge${i} + I, beyond);`,
)}
${start}
  for (var k = 0u; k < I; k++) {
${lines(10, (j) => `    var o${j} = select(vec4f(), x[x${j} + k], h${j});`)}
${lines(
  2,
  (i) => `    var e${i} = select(vec4f(), x[edge${i} + k], edge_here${i});
    var f${i} = select(vec4f(), x[next${i} + k], edge_here${i} && beyond);`,
)}
    for (var ky = 0u; ky < 3u; ky++) {
${lines(8, (j) => `      var a${j} = o${j};`)}
      var e = e0;
      for (var kx = 0u; kx < 3u; kx++) {
        let tap = (ky * 3u + kx) * I + k;
${tap}
${lines(8, (j) => `        a${j} = select(subgroupShuffle(a${j}, (lane + 1u) % 8u), subgroupBroadcast(e, ${j}u), lane == 7u);`)}
        e = f0;
      }
${lines(9, (j) => `      o${j} = o${j + 1};`)}
${lines(
  2,
  (i) => `      ${"ef"[i]}0 = select(subgroupShuffle(${"ef"[i]}0, (lane + 1u) % 8u), subgroupBroadcast(${"ef"[i]}1, 0u), lane == 7u);
      ${"ef"[i]}1 = subgroupShuffle(${"ef"[i]}1, (lane + 1u) % 8u);`,
)}
    }
  }
${end}
}
`;
}
