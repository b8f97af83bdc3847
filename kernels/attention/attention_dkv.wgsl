// dv[b, s, h] = sum over queries (t, n) of head h that see s of p dout[b, t, n];
// dk[b, s, h] = scale * the same sum of p (dout[b, t, n] . v[b, s, h] - delta) q[b, t, n]; p and delta as in attention_dq.wgsl.
// Added to what dk and dv hold where accK and accV are 1. One invocation makes one key's two rows.
struct Params { B: u32, T: u32, S: u32, N: u32, K: u32, D: u32, scale: f32, causal: u32, padded: u32, accK: u32, accV: u32 }
@group(0) @binding(0) var<storage, read> q: array<f32>;
@group(0) @binding(1) var<storage, read> k: array<f32>;
@group(0) @binding(2) var<storage, read> v: array<f32>;
@group(0) @binding(3) var<storage, read> dout: array<f32>;
@group(0) @binding(4) var<storage, read> stat: array<vec2f>;
@group(0) @binding(5) var<storage, read> start: array<u32>;
@group(0) @binding(6) var<storage, read_write> dk: array<f32>;
@group(0) @binding(7) var<storage, read_write> dv: array<f32>;
@group(0) @binding(8) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups) * WG + lane;
  if (row >= p.B * p.S * p.K) { return; }
  let head = row % p.K;
  let s = row / p.K % p.S;
  let b = row / (p.K * p.S);
  let at = row * p.D;
  for (var d = 0u; d < p.D; d++) {
    if (p.accK == 0u) { dk[at + d] = 0.0; }
    if (p.accV == 0u) { dv[at + d] = 0.0; }
  }
  if (p.padded == 1u && s < start[b]) { return; }
  var first = 0u;
  if (p.causal == 1u) { first = u32(max(i32(s + p.T) - i32(p.S), 0)); }
  let share = p.N / p.K;
  for (var n = head * share; n < (head + 1u) * share; n++) {
    for (var t = first; t < p.T; t++) {
      let query = ((b * p.T + t) * p.N + n) * p.D;
      let known = stat[(b * p.N + n) * p.T + t];
      var score = 0.0;
      var dp = 0.0;
      for (var d = 0u; d < p.D; d++) {
        score += q[query + d] * k[at + d];
        dp += dout[query + d] * v[at + d];
      }
      let weight = exp(score * p.scale - known.x);
      let ds = weight * (dp - known.y) * p.scale;
      for (var d = 0u; d < p.D; d++) {
        dk[at + d] += ds * q[query + d];
        dv[at + d] += weight * dout[query + d];
      }
    }
  }
}
