// dw[h] = sum over rows of head h of dy * xhat, db[h] = sum of dy, xhat = (x - mean) * rstd; added where accw, accb are 1. Rows are taken as
// rows / heads lines of heads * D columns. A workgroup owns X columns, Y invocations share one.
alias XT = f32;
struct Params { rows: u32, D: u32, heads: u32, accw: u32, accb: u32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read> mean: array<f32>;
@group(0) @binding(2) var<storage, read> rstd: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> dw: array<f32>;
@group(0) @binding(5) var<storage, read_write> db: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override X = 16u;
override Y = 16u;
var<workgroup> parts_w: array<f32, X * Y>;
var<workgroup> parts_b: array<f32, X * Y>;

@compute @workgroup_size(X, Y)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) local: vec3u) {
  let c = group.x * X + local.x;
  let width = p.D;
  let n = width * p.heads;
  let head = c / width;
  let lines = p.rows / p.heads;
  var sw = 0.0;
  var sb = 0.0;
  if (c < n) {
    for (var l = local.y; l < lines; l += Y) {
      let row = l * p.heads + head;
      let g = dy[l * n + c];
      sw += g * (f32(x[l * n + c]) - mean[row]) * rstd[row];
      sb += g;
    }
  }
  if (Y > 1u) {
    parts_w[local.y * X + local.x] = sw;
    parts_b[local.y * X + local.x] = sb;
    workgroupBarrier();
  }
  if (local.y != 0u || c >= n) { return; }
  for (var k = 1u; k < Y; k++) {
    sw += parts_w[k * X + local.x];
    sb += parts_b[k * X + local.x];
  }
  if (p.accw != 0u) { sw += dw[c]; }
  if (p.accb != 0u) { sb += db[c]; }
  dw[c] = sw;
  db[c] = sb;
}
