// dx = rstd * (g - mean(g) - xhat * mean(g xhat)), g = dy w[head], xhat = (x - mean) * rstd, added where acc is 1; head = row % heads.
// For short rows on the software adapter: one invocation owns whole rows of N vec4 (D = 4 N), PER of them of one head, and holds the row
// and the head's w in registers, so that every number is loaded once.
alias XT = f32;
alias WT = f32;
struct Params { rows: u32, D: u32, heads: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> w: array<vec4<WT>>;
@group(0) @binding(2) var<storage, read> mean: array<f32>;
@group(0) @binding(3) var<storage, read> rstd: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;
override PER = 1u;
const N = 4;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var scale: array<vec4f, N>;
  for (var k = 0; k < N; k++) { scale[k] = vec4f(w[group.y * u32(N) + u32(k)]); }
  for (var j = 0u; j < PER; j++) {
    let row = ((group.x * PER + j) * WG + lane) * p.heads + group.y;
    if (row >= p.rows) { break; }
    let m = mean[row];
    let r = rstd[row];
    var v: array<vec4f, N>;
    var g: array<vec4f, N>;
    var s = vec4f();
    var t = vec4f();
    for (var k = 0; k < N; k++) {
      v[k] = (vec4f(x[row * u32(N) + u32(k)]) - m) * r;
      g[k] = dy[row * u32(N) + u32(k)] * scale[k];
      s += g[k];
      t += g[k] * v[k];
    }
    let a = dot(s, vec4f(1)) / f32(p.D);
    let b = dot(t, vec4f(1)) / f32(p.D);
    for (var k = 0; k < N; k++) {
      var d = r * (g[k] - a - v[k] * b);
      if (p.acc != 0u) { d += dx[row * u32(N) + u32(k)]; }
      dx[row * u32(N) + u32(k)] = d;
    }
  }
}
