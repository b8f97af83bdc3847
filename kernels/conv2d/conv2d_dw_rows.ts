// Text of the weight gradient of a 3x3 convolution of stride 1 for subgroups of 8, unrolled: one subgroup owns 32 (or, for few, 4)
// output channels times 8 vec4 of (ky, input channel), all three kx, over one range of pixels. Walking along a row, each pixel of x is
// loaded once for the three taps that meet it.

const list = (n: number, item: (i: number) => string, by: string): string => Array.from({ length: n }, (_, i) => item(i)).join(by);
const lines = (n: number, line: (i: number) => string): string => list(n, line, "\n");

/** WGSL for 32 or 4 output channels a subgroup of 8 lanes, taking four pixels of a row at a time; `bench source` prints it. */
export function conv2dDwRows(outputs: 4 | 32): string {
  const wide = outputs === 32;
  return `enable subgroups;
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, span: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> part: array<vec4f>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let I = p.I / 4u;
  let O = p.O / 4u;
  let tiles = (3u * I + 7u) / 8u;
  let column = group.x % tiles * 8u + lane;
  let first_row = group.x / tiles * ${outputs}u;
  let mine = ${wide ? "min(first_row / 4u + lane, O - 1u)" : "first_row / 4u"};
  let ky = min(column, 3u * I - 1u) / I;
  let channel = column % I;
  let first = group.y * p.span;
  let last = min(first + p.span, p.B * p.H * p.W);
  var ox = first % p.W;
  var oy = first / p.W % p.H;
  var bias = vec4f();
  var x0 = vec4f();
  var x1 = vec4f();
${lines(3 * outputs, (i) => `  var s${i} = vec4f();`)}
  for (var q = first; q < last; q += 4u) {
    // The pixel under output pixel q and the middle tap of this lane's row; above and below the picture there is none.
    let here = oy + ky - 1u < p.H;
    let at = select(0u, (q + (ky - 1u) * p.W) * I, here) + channel;
    let fresh = ox == 0u || q == first;
    if (fresh) {
      x0 = select(vec4f(), x[at - select(0u, I, here && ox > 0u)], here && ox > 0u);
      x1 = select(vec4f(), x[at], here);
    }
${lines(4, (c) => {
  const inside = c === 3 ? "here && ox + 4u < p.W" : "here";
  return `    let x${c + 2} = select(vec4f(), x[at + select(0u, ${c + 1}u * I, ${inside})], ${inside});
    let d${c} = dy[(q + ${c}u) * O + mine];`;
})}
    bias += ${list(4, (c) => `d${c}`, " + ")};
${lines(
  outputs,
  (i) =>
    lines(4, (c) => `    let v${i}_${c} = ${wide ? `subgroupBroadcast(d${c}[${i % 4}], ${i >> 2}u)` : `d${c}[${i}]`};`) +
    "\n" +
    lines(3, (kx) => `    s${3 * i + kx} += ${list(4, (c) => `v${i}_${c} * x${c + kx}`, " + ")};`),
)}
    x0 = x4;
    x1 = x5;
    ox += 4u;
    oy += select(0u, 1u, ox == p.W);
    oy = select(oy, 0u, oy == p.H);
    ox = select(ox, 0u, ox == p.W);
  }
  var sums = array<vec4f, ${3 * outputs}>(${list(3 * outputs, (i) => `s${i}`, ", ")});
  let start = group.y * (p.O * 9u * I + O);
  if (column < 3u * I) {
    for (var i = 0u; i < 3u * min(${outputs}u, p.O - first_row); i++) {
      part[start + ((first_row + i / 3u) * 9u + ky * 3u + i % 3u) * I + channel] = sums[i];
    }
  }
  if (group.x % tiles == 0u && ${wide ? "first_row / 4u + lane < O" : "lane == 0u"}) { part[start + p.O * 9u * I + mine] = bias; }
}
`;
}
