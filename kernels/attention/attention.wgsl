// o[b, t, n] = sum over s of p[s] v[b, s, h],  p = softmax over s of scale q[b, t, n] . k[b, s, h],  h = floor(n / (N / K)),
// lse[b, n, t] = log of the sum of exp of the scores. Key s is seen where start[b] <= s and, if causal, s <= t + S - T; a query that
// sees none gives zeros. One invocation makes one query's row in one pass over the keys (online softmax), with o as its accumulator.
alias QT = f32;
alias KT = f32;
alias VT = f32;
struct Params { B: u32, T: u32, S: u32, N: u32, K: u32, D: u32, scale: f32, causal: u32, padded: u32 }
@group(0) @binding(0) var<storage, read> q: array<QT>;
@group(0) @binding(1) var<storage, read> k: array<KT>;
@group(0) @binding(2) var<storage, read> v: array<VT>;
@group(0) @binding(3) var<storage, read> start: array<u32>;
@group(0) @binding(4) var<storage, read_write> o: array<f32>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
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

  for (var d = 0u; d < p.D; d++) { o[row * p.D + d] = 0.0; }
  var top = -3e38;
  var sum = 0.0;
  for (var s = first; s < end; s++) {
    let at = ((b * p.S + s) * p.K + head) * p.D;
    var score = 0.0;
    for (var d = 0u; d < p.D; d++) { score += f32(q[row * p.D + d]) * f32(k[at + d]); }
    score *= p.scale;
    let higher = max(top, score);
    let keep = exp(top - higher);
    let weight = exp(score - higher);
    top = higher;
    sum = sum * keep + weight;
    for (var d = 0u; d < p.D; d++) { o[row * p.D + d] = o[row * p.D + d] * keep + weight * f32(v[at + d]); }
  }
  let i = (b * p.N + n) * p.T + t;
  if (sum == 0.0) { lse[i] = 0.0; return; }
  for (var d = 0u; d < p.D; d++) { o[row * p.D + d] /= sum; }
  lse[i] = top + log(sum);
}
