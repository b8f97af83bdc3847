// Attention of new queries over a cache in two parts: o[r, t, n] = softmax-weighted sum of values, as in attention.wgsl, over the keys
// 0 ... S - 1 of prefix row i = floor(r / branches), shared by neighbouring rows, and then the keys 0 ... base + t of row r's own suffix. Of this sequence
// the first start[i] keys are not seen where padded is 1. A query that sees no key gives zeros. One invocation makes one query's row, with o as its accumulator.
alias QT = f32;
alias PKT = f32;
alias PVT = f32;
alias KT = f32;
alias VT = f32;
struct Params { R: u32, T: u32, S: u32, cap: u32, N: u32, K: u32, D: u32, branches: u32, base: u32, padded: u32, scale: f32 }
@group(0) @binding(0) var<storage, read> q: array<QT>;
@group(0) @binding(1) var<storage, read> kp: array<PKT>;
@group(0) @binding(2) var<storage, read> vp: array<PVT>;
@group(0) @binding(3) var<storage, read> start: array<u32>;
@group(0) @binding(4) var<storage, read> ks: array<KT>;
@group(0) @binding(5) var<storage, read> vs: array<VT>;
@group(0) @binding(6) var<storage, read_write> o: array<f32>;
@group(0) @binding(7) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group_index(group, groups) * WG + lane;
  if (row >= p.R * p.T * p.N) { return; }
  let n = row % p.N;
  let t = row / p.N % p.T;
  let r = row / (p.N * p.T);
  let head = n / (p.N / p.K);
  let shared_row = r / p.branches;
  var first = 0u;
  if (p.padded == 1u) { first = start[shared_row]; }
  let end = p.S + min(p.base + t + 1u, p.cap);

  for (var d = 0u; d < p.D; d++) { o[row * p.D + d] = 0.0; }
  var top = -3e38;
  var sum = 0.0;
  for (var s = first; s < end; s++) {
    let own = s >= p.S;
    let at = (select(shared_row * p.S + s, r * p.cap + s - p.S, own) * p.K + head) * p.D;
    var score = 0.0;
    for (var d = 0u; d < p.D; d++) {
      var key: f32;
      if (own) { key = f32(ks[at + d]); } else { key = f32(kp[at + d]); }
      score += f32(q[row * p.D + d]) * key;
    }
    score *= p.scale;
    let higher = max(top, score);
    let keep = exp(top - higher);
    let weight = exp(score - higher);
    top = higher;
    sum = sum * keep + weight;
    for (var d = 0u; d < p.D; d++) {
      var value: f32;
      if (own) { value = f32(vs[at + d]); } else { value = f32(vp[at + d]); }
      o[row * p.D + d] = o[row * p.D + d] * keep + weight * value;
    }
  }
  for (var d = 0u; d < p.D; d++) { o[row * p.D + d] /= max(sum, 1e-30); }
}
