// Text of the weight gradient for small subgroups, unrolled: one subgroup owns 4 LANES output channels times LANES vec4 of weights (any taps)
// over one range of pixels. Four pixels at a time, each lane loads their dy for its four outputs and their x under its own tap; dy then
// reaches all lanes by broadcast from constant lanes.

const join = (n: number, line: (i: number) => string): string => Array.from({ length: n }, (_, i) => line(i)).join("\n");

/** WGSL for a subgroup of `lanes` lanes; `bench source` prints it. */
export function conv2dDwLanes(lanes: number): string {
  const rows = 4 * lanes;
  return `enable subgroups;
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, span: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> part: array<vec4f>;
@group(0) @binding(3) var<uniform> p: Params;

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let I = p.I / 4u;
  let O = p.O / 4u;
  let length = p.KH * p.KW * I;
  let tiles = (length + ${lanes - 1}u) / ${lanes}u;
  let column = group.x % tiles * ${lanes}u + lane;
  let first_row = group.x / tiles * ${rows}u;
  let mine = min(first_row / 4u + lane, O - 1u);
  let tap = min(column, length - 1u) / I;
  let ky = tap / p.KW - p.pad;
  let kx = tap % p.KW - p.pad;
  let total = p.B * p.OH * p.OW;
  let first = group.y * p.span;
  let last = min(first + p.span, total);
  // Output row and column, and picture, of pixel q; stepped without division.
  var ox = first % p.OW;
  var oy = first / p.OW % p.OH;
  var picture = first / (p.OW * p.OH);
  var bias = vec4f();
${join(rows, (i) => `  var s${i} = vec4f();`)}
  for (var q = first; q < last; q += 4u) {
${join(4, (c) => {
  const n = c === 0 ? "q" : `q + ${c}u`;
  return `    let in${c} = ${n} < last;
    let d${c} = select(vec4f(), dy[min(${n}, total - 1u) * O + mine], in${c});
    let y${c} = oy * p.stride + ky;
    let z${c} = ox * p.stride + kx;
    let here${c} = in${c} && y${c} < p.H && z${c} < p.W;
    let x${c} = select(vec4f(), x[select(0u, ((picture * p.H + y${c}) * p.W + z${c}) * I, here${c}) + column % I], here${c});
    ox += 1u;
    oy += select(0u, 1u, ox == p.OW);
    ox = select(ox, 0u, ox == p.OW);
    picture += select(0u, 1u, oy == p.OH);
    oy = select(oy, 0u, oy == p.OH);`;
})}
    bias += (d0 + d1) + (d2 + d3);
${join(rows, (i) => {
  const product = (c: number) => `subgroupBroadcast(d${c}[${i % 4}], ${i >> 2}u) * x${c}`;
  return `    s${i} += (${product(0)} + ${product(1)}) + (${product(2)} + ${product(3)});`;
})}
  }
  var sums = array<vec4f, ${rows}>(${Array.from({ length: rows }, (_, i) => `s${i}`).join(", ")});
  let start = group.y * (p.O * length + O);
  if (column < length) {
    for (var i = 0u; i < min(${rows}u, p.O - first_row); i++) { part[start + (first_row + i) * length + column] = sums[i]; }
  }
  if (group.x % tiles == 0u && first_row / 4u + lane < O) { part[start + p.O * length + mine] = bias; }
}
`;
}
