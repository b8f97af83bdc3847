// y[r, c] = exp(x[r, c] - m) / sum over c of exp(x[r, c] - m), m the largest value of the row. LPR neighbouring lanes share a row. The first
// pass finds both the largest value so far and the sum under it, CHUNK vec4 at a time, so that a row is read twice and not three times.
enable subgroups;
struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
override LPR = 8u;
const CHUNK = 4u;
const lowest = -3.4028234663852886e38;

fn highest(v: vec4f) -> f32 { return max(max(v.x, v.y), max(v.z, v.w)); }

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let row = min(i / LPR, p.rows - 1u);
  let n = p.C / 4u;
  let base = row * n;
  let part = i % LPR;
  var m = lowest;
  var s = vec4f();
  var c = part;
  for (; c + (CHUNK - 1u) * LPR < n; c += CHUNK * LPR) {
    var v: array<vec4f, CHUNK>;
    var h = vec4f(m);
    for (var k = 0u; k < CHUNK; k++) {
      v[k] = x[base + c + k * LPR];
      h = max(h, v[k]);
    }
    let top = highest(h);
    s *= exp(m - top);
    for (var k = 0u; k < CHUNK; k++) { s += exp(v[k] - top); }
    m = top;
  }
  for (; c < n; c += LPR) {
    let v = x[base + c];
    let top = max(m, highest(v));
    s = s * exp(m - top) + exp(v - top);
    m = top;
  }
  let top = row_max(m);
  let scale = 1.0 / row_sum(total(s) * exp(m - top));
  if (i / LPR < p.rows) {
    for (c = part; c < n; c += LPR) { y[base + c] = exp(x[base + c] - top) * scale; }
  }
}
