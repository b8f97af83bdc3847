// dw[c] = (acc ? dw[c] : 0) + sum over rows of dy[r, c] * x[r, c] * rstd[r]. A workgroup owns X groups of four columns; Y invocations
// share one, each takes every Y-th row, and the first adds their parts in order. Y is 1 on the software adapter, where barriers are slow.
alias XT = f32;
struct Params { rows: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> rstd: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dw: array<vec4f>;
@group(0) @binding(4) var<uniform> p: Params;
override X = 8u;
override Y = 32u;
var<workgroup> parts: array<vec4f, X * Y>;

@compute @workgroup_size(X, Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let c = group.x * X + local.x;
  let n = p.C / 4u;
  var s = vec4f();
  if (c < n) {
    for (var r = local.y; r < p.rows; r += Y) { s += dy[r * n + c] * vec4f(x[r * n + c]) * rstd[r]; }
  }
  if (Y > 1u) {
    parts[local.y * X + local.x] = s;
    workgroupBarrier();
  }
  if (local.y != 0u || c >= n) { return; }
  for (var k = 1u; k < Y; k++) { s += parts[k * X + local.x]; }
  if (p.acc != 0u) { s += dw[c]; }
  dw[c] = s;
}
