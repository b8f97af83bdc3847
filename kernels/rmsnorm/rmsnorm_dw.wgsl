// dw[c] = (acc ? dw[c] : 0) + sum over rows of dy[r, c] * x[r, c] * rstd[r]. A workgroup owns X columns; Y invocations share a column,
// each takes every Y-th row, and the first adds their parts in order.
alias XT = f32;
struct Params { rows: u32, C: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read> rstd: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;
@group(0) @binding(4) var<uniform> p: Params;
override X = 16u;
override Y = 16u;
var<workgroup> parts: array<f32, X * Y>;

@compute @workgroup_size(X, Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let c = group.x * X + local.x;
  var s = 0.0;
  if (c < p.C) {
    for (var r = local.y; r < p.rows; r += Y) { s += dy[r * p.C + c] * f32(x[r * p.C + c]) * rstd[r]; }
  }
  parts[local.y * X + local.x] = s;
  workgroupBarrier();
  if (local.y != 0u || c >= p.C) { return; }
  for (var k = 1u; k < Y; k++) { s += parts[k * X + local.x]; }
  if (p.acc != 0u) { s += dw[c]; }
  dw[c] = s;
}
