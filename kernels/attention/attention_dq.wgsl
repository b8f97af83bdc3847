// dq[b, t, n] = scale * sum over s of p[s] (dout[b, t, n] . v[b, s, h] - delta) k[b, s, h], with p[s] = exp(score - lse) made again from q and
// k, and (lse, delta) of attention_delta.wgsl; added to what dq holds where acc is 1. One invocation makes one query's row.
struct Params { B: u32, T: u32, S: u32, N: u32, K: u32, D: u32, scale: f32, causal: u32, padded: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> dout: array<f32>;
@group(0) @binding(4) var<storage, read> stat: array<vec2f>;
@group(0) @binding(5) var<storage, read> start: array<u32>;
@group(0) @binding(6) var<storage, read_write> dq: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups) * WG + lane;
  if (row >= p.B * p.T * p.N) { return; }
  let n = row % p.N;
  let t = row / p.N % p.T;
  let b = row / (p.N * p.T);
  let head = n / (p.N / p.K);
  var first = 0u;
  if (p.padded == 1u) { first = start[b]; }
  var end = p.S;
  if (p.causal == 1u) { end = u32(clamp(i32(t + p.S) - i32(p.T) + 1, 0, i32(p.S))); }
  let known = stat[(b * p.N + n) * p.T + t];

  if (p.acc == 0u) {
    for (var d = 0u; d < p.D; d++) { dq[row * p.D + d] = 0.0; }
  }
  for (var s = first; s < end; s++) {
    let at = ((b * p.S + s) * p.K + head) * p.D;
    var score = 0.0;
    var dp = 0.0;
    for (var d = 0u; d < p.D; d++) {
      score += q[row * p.D + d] * k[at + d];
      dp += dout[row * p.D + d] * v[at + d];
    }
    let ds = exp(score * p.scale - known.x) * (dp - known.y) * p.scale;
    for (var d = 0u; d < p.D; d++) { dq[row * p.D + d] += ds * k[at + d]; }
  }
}
