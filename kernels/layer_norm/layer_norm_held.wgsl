// y = (x - mean) * rstd * w[head] + b[head] over D values; row i has head i % heads, rstd = 1 / sqrt(variance + eps).
// For short rows on the software adapter, where loads are dear: one invocation owns whole rows of N vec4 (D = 4 N), PER of them of one
// head, and holds the row and the head's w and b in registers, so that every number is loaded once.
alias XT = f32;
alias WT = f32;
alias YT = f32;
struct Params { rows: u32, D: u32, heads: u32, eps: f32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<WT>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<WT>>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(4) var<storage, read_write> mean: array<f32>;
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;
override PER = 1u;
const N = 4;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var scale: array<vec4f, N>;
  var shift: array<vec4f, N>;
  for (var k = 0; k < N; k++) {
    scale[k] = vec4f(w[group.y * u32(N) + u32(k)]);
    shift[k] = vec4f(b[group.y * u32(N) + u32(k)]);
  }
  for (var j = 0u; j < PER; j++) {
    let row = ((group.x * PER + j) * WG + lane) * p.heads + group.y;
    if (row >= p.rows) { break; }
    var v: array<vec4f, N>;
    var s = vec4f();
    for (var k = 0; k < N; k++) {
      v[k] = vec4f(x[row * u32(N) + u32(k)]);
      s += v[k];
    }
    let m = dot(s, vec4f(1)) / f32(p.D);
    var q = vec4f();
    for (var k = 0; k < N; k++) {
      v[k] -= m;
      q += v[k] * v[k];
    }
    let r = 1.0 / sqrt(dot(q, vec4f(1)) / f32(p.D) + p.eps);
    for (var k = 0; k < N; k++) { y[row * u32(N) + u32(k)] = vec4<YT>(v[k] * r * scale[k] + shift[k]); }
    mean[row] = m;
    rstd[row] = r;
  }
}
