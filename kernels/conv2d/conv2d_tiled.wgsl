// The convolution in workgroup memory: 64 output pixels times 32 output channels a workgroup, 4 by 4 an invocation; tap by tap, 16 input
// channels at a time. Formula as in conv2d.wgsl.
alias XT = f32;
alias WT = f32;
alias BT = f32;
alias RT = f32;
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, up: u32, bias: u32, residual: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<WT>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<BT>>;
@group(0) @binding(3) var<storage, read> r: array<vec4<RT>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(5) var<uniform> p: Params;

// [vec4 of channels][pixel] and [vec4 of channels][output].
var<workgroup> xs: array<vec4f, 256>;
var<workgroup> ws: array<vec4f, 128>;

// Picture, row and column of output pixel q.
fn place(q: u32) -> vec3u { return vec3u(q / (p.OW * p.OH), q / p.OW % p.OH, q % p.OW); }

// Index of the input pixel under a tap, or -1.
fn source(at: vec3u, tap: vec2u) -> i32 {
  let t = at.yz * p.stride + tap - p.pad;
  let s = t / p.up;
  // Left of the picture t wraps around and is past its end.
  if (any(s * p.up != t) || s.x >= p.H || s.y >= p.W) { return -1; }
  return i32((at.x * p.H + s.x) * p.W + s.y);
}

@compute @workgroup_size(128)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let pixels = p.B * p.OH * p.OW;
  let tiles = (pixels + 63u) / 64u;
  let tile = group_index(group, groups);
  let first = tile % tiles * 64u;
  let column = tile / tiles * 32u;
  let I = p.I / 4u;
  // This invocation brings vec4 `part` of two pixels and one output, and computes pixels m + 16 i with outputs n ... n + 3.
  let part = lane % 4u;
  let at0 = place(min(first + lane / 4u, pixels - 1u));
  let at1 = place(min(first + lane / 4u + 32u, pixels - 1u));
  let row = min(column + lane / 4u, p.O - 1u) * p.KH * p.KW;
  let m = lane % 16u;
  let n = lane / 16u * 4u;
  var sums = array<vec4f, 4>();
  for (var tap = 0u; tap < p.KH * p.KW; tap++) {
    let q0 = source(at0, vec2u(tap / p.KW, tap % p.KW));
    let q1 = source(at1, vec2u(tap / p.KW, tap % p.KW));
    for (var k = 0u; k < I; k += 4u) {
      let c = k + part;
      var x0 = vec4f();
      var x1 = vec4f();
      var w0 = vec4f();
      if (c < I) {
        if (q0 >= 0) { x0 = vec4f(x[u32(q0) * I + c]); }
        if (q1 >= 0) { x1 = vec4f(x[u32(q1) * I + c]); }
        w0 = vec4f(w[(row + tap) * I + c]);
      }
      workgroupBarrier();
      xs[part * 64u + lane / 4u] = x0;
      xs[part * 64u + lane / 4u + 32u] = x1;
      ws[part * 32u + lane / 4u] = w0;
      workgroupBarrier();
      for (var v = 0u; v < 4u; v++) {
        let b0 = ws[v * 32u + n];
        let b1 = ws[v * 32u + n + 1u];
        let b2 = ws[v * 32u + n + 2u];
        let b3 = ws[v * 32u + n + 3u];
        for (var i = 0u; i < 4u; i++) {
          let a = xs[v * 64u + m + 16u * i];
          sums[i] += vec4f(dot(a, b0), dot(a, b1), dot(a, b2), dot(a, b3));
        }
      }
    }
  }
  let o = (column + n) / 4u;
  if (column + n >= p.O) { return; }
  for (var i = 0u; i < 4u; i++) {
    let q = first + m + 16u * i;
    if (q >= pixels) { break; }
    let at = q * (p.O / 4u) + o;
    var sum = sums[i];
    if (p.bias == 1u) { sum += vec4f(b[o]); }
    if (p.residual == 1u) { sum += vec4f(r[at]); }
    if (p.acc == 1u) { sum += y[at]; }
    y[at] = sum;
  }
}
