// Text of the convolution for small subgroups, unrolled: one subgroup owns 32 output pixels times 4 LANES output channels. Per tap and four
// input channels each lane loads its pixels' vec4 and four weight rows' vec4; the pixels then reach all lanes by broadcast from constant lanes.

const join = (n: number, line: (i: number) => string): string => Array.from({ length: n }, (_, i) => line(i)).join("\n");

/** WGSL for a subgroup of `lanes` lanes; `bench source` prints it. */
export function conv2dLanes(lanes: number): string {
  const groups = 32 / lanes;
  return `enable subgroups;
// subgroupAny is the same in all lanes, which the analysis does not know.
diagnostic(off, subgroup_uniformity);
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, up: u32, bias: u32, residual: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> w: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<vec4f>;
@group(0) @binding(3) var<storage, read> r: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(5) var<uniform> p: Params;

// Picture, row and column of output pixel q. Where the input is spread, pixels that meet the same taps follow one another.
fn place(q: u32) -> vec3u {
  if (p.up == 1u) { return vec3u(q / (p.OW * p.OH), q / p.OW % p.OH, q % p.OW); }
  let quarter = p.B * p.OH * p.OW / 4u;
  let rest = q % quarter;
  let half = vec2u(p.OH, p.OW) / 2u;
  return vec3u(rest / (half.x * half.y), rest / half.y % half.x * 2u + q / (2u * quarter), rest % half.y * 2u + q / quarter % 2u);
}

// Index of the input pixel under a tap, or -1. up is 1 or 2: division is slow.
fn source(at: vec3u, ky: u32, kx: u32) -> i32 {
  let t = at.yz * p.stride + vec2u(ky, kx) - p.pad;
  let s = t >> vec2u(p.up - 1u);
  // Left of the picture t wraps around and is past its end.
  if (((t.x | t.y) & (p.up - 1u)) != 0u || s.x >= p.H || s.y >= p.W) { return -1; }
  return i32((at.x * p.H + s.x) * p.W + s.y);
}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let pixels = p.B * p.OH * p.OW;
  let tiles = (pixels + 31u) / 32u;
  let tile = group_index(group, groups);
  if (tile >= tiles * ((p.O + ${4 * lanes - 1}u) / ${4 * lanes}u)) { return; }
  let first = tile % tiles * 32u;
  let column = tile / tiles * ${4 * lanes}u + lane * 4u;
  let I = p.I / 4u;
  let taps = p.KH * p.KW;
${join(groups, (j) => `  let at${j} = place(min(first + ${j * lanes}u + lane, pixels - 1u));`)}
${join(32, (i) => `  var s${i} = vec4f();`)}
  for (var tap = 0u; tap < taps; tap++) {
    let ky = tap / p.KW;
    let kx = tap - ky * p.KW;
${join(groups, (j) => `    let q${j} = source(at${j}, ky, kx);`)}
    if (!subgroupAny(${Array.from({ length: groups }, (_, j) => `q${j} >= 0`).join(" || ")})) { continue; }
${join(groups, (j) => `    let x${j} = u32(max(q${j}, 0)) * I;`)}
${join(4, (c) => `    let w${c} = (min(column + ${c}u, p.O - 1u) * taps + tap) * I;`)}
    for (var k = 0u; k < I; k++) {
${join(4, (c) => `      let b${c} = w[w${c} + k];`)}
${join(groups, (j) => `      let a${j} = select(vec4f(), x[x${j} + k], q${j} >= 0);`)}
${join(4, (i) => `      let c${i} = vec4f(${[0, 1, 2, 3].map((c) => `b${c}[${i}]`).join(", ")});`)}
${join(32, (i) => {
  const from = (k: number) => `subgroupBroadcast(a${Math.floor(i / lanes)}[${k}], ${i % lanes}u) * c${k}`;
  return `      s${i} += (${from(0)} + ${from(1)}) + (${from(2)} + ${from(3)});`;
})}
    }
  }
  var sums = array<vec4f, 32>(${Array.from({ length: 32 }, (_, i) => `s${i}`).join(", ")});
  let O = p.O / 4u;
  if (column >= p.O) { return; }
  var shift = vec4f();
  if (p.bias == 1u) { shift = b[column / 4u]; }
  for (var i = 0u; i < min(32u, pixels - first); i++) {
    var n = first + i;
    if (p.up == 2u) {
      let at = place(n);
      n = (at.x * p.OH + at.y) * p.OW + at.z;
    }
    n = n * O + column / 4u;
    var sum = sums[i] + shift;
    if (p.residual == 1u) { sum += r[n]; }
    if (p.acc == 1u) { sum += y[n]; }
    y[n] = sum;
  }
}
`;
}
