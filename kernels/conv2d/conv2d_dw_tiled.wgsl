// The parts of dw and db in workgroup memory: 32 output channels times 8 vec4 of weights (any taps) a workgroup, 4 by 4 an invocation,
// 16 pixels at a time. Formula as in conv2d_dw.wgsl.
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, span: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> part: array<vec4f>;
@group(0) @binding(3) var<uniform> p: Params;

// [pixel][vec4].
var<workgroup> xs: array<vec4f, 128>;
var<workgroup> ds: array<vec4f, 128>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let I = p.I / 4u;
  let O = p.O / 4u;
  let length = p.KH * p.KW * I;
  let tiles = (length + 7u) / 8u;
  let column = group.x % tiles * 8u;
  let first_row = group.x / tiles * 8u;
  let first = group.y * p.span;
  let last = min(first + p.span, p.B * p.OH * p.OW);
  let m = lane / 8u;
  let n = lane % 8u;
  let tap = (column + n) / I;
  var sums = array<vec4f, 4>();
  var bias = vec4f();
  for (var q = first; q < last; q += 16u) {
    workgroupBarrier();
    for (var i = m; i < 16u; i += 8u) {
      let at = q + i;
      var value = vec4f();
      var d = vec4f();
      if (at < last) {
        let sy = at / p.OW % p.OH * p.stride + tap / p.KW - p.pad;
        let sx = at % p.OW * p.stride + tap % p.KW - p.pad;
        if (sy < p.H && sx < p.W && column + n < length) {
          value = x[((at / (p.OW * p.OH) * p.H + sy) * p.W + sx) * I + (column + n) % I];
        }
        if (first_row + n < O) { d = dy[at * O + first_row + n]; }
      }
      xs[i * 8u + n] = value;
      ds[i * 8u + n] = d;
    }
    workgroupBarrier();
    for (var i = 0u; i < 16u; i++) {
      let a = ds[i * 8u + m];
      let c = xs[i * 8u + n];
      sums[0] += a.x * c;
      sums[1] += a.y * c;
      sums[2] += a.z * c;
      sums[3] += a.w * c;
      bias += a;
    }
  }
  let start = group.y * (p.O * length + O);
  if (first_row + m >= O) { return; }
  if (column + n < length) {
    for (var i = 0u; i < 4u; i++) { part[start + ((first_row + m) * 4u + i) * length + column + n] = sums[i]; }
  }
  if (column + n == 0u) { part[start + p.O * length + first_row + m] = bias; }
}
