// Attention as in attention.wgsl by tiles: one subgroup owns ROWS queries of one head and walks over the keys 4 * LANES at a time. In a
// tile of scores a lane holds four keys of every row; in the result it holds QUADS column quads, LANES apart. Queries and weights are
// handed round by shuffles: no workgroup memory, no barriers. Needs D % 4 and D <= 4 * LANES * QUADS.
enable subgroups;
alias QT = f32;
alias KT = f32;
alias VT = f32;
struct Params { B: u32, T: u32, S: u32, N: u32, K: u32, D: u32, scale: f32, causal: u32, padded: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4<QT>>;
@group(0) @binding(1) var<storage, read> k: array<vec4<KT>>;
@group(0) @binding(2) var<storage, read> v: array<vec4<VT>>;
@group(0) @binding(3) var<storage, read> start: array<u32>;
@group(0) @binding(4) var<storage, read_write> o: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;
@group(0) @binding(6) var<uniform> p: Params;
const ROWS = 16u;
const LANES = 8u;
const LOADS = 2u;
const QUADS = 1u;
override WG = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let b = group.y / p.N;
  let n = group.y % p.N;
  let t0 = group.x * ROWS;
  let quads = p.D / 4u;
  let step = p.K * quads;
  let keys = (b * p.S * p.K + n / (p.N / p.K)) * quads;
  let queries = (b * p.T * p.N + n) * quads;
  var first = 0u;
  if (p.padded == 1u) { first = start[b]; }
  var end = p.S;
  if (p.causal == 1u) { end = u32(clamp(i32(t0 + ROWS + p.S) - i32(p.T), 0, i32(p.S))); }

  var sums: array<array<vec4f, ROWS>, QUADS>;
  var total: array<vec4f, ROWS>;
  var top: array<f32, ROWS>;
  for (var r = 0u; r < ROWS; r++) { top[r] = -1e38; }
  for (var s0 = first; s0 < end; s0 += 4u * LANES) {
    let s = vec4u(s0 + 4u * lane) + vec4u(0u, 1u, 2u, 3u);
    let at = keys + min(s, vec4u(p.S - 1u)) * step;
    var score = array<vec4f, ROWS>();
    for (var d = 0u; d < quads; d++) {
      var rows: array<vec4f, LOADS>;
      for (var i = 0u; i < LOADS; i++) {
        rows[i] = vec4f(q[queries + min(t0 + (i * LANES + lane) % ROWS, p.T - 1u) * p.N * quads + d]);
      }
      let c0 = vec4f(k[at.x + d]);
      let c1 = vec4f(k[at.y + d]);
      let c2 = vec4f(k[at.z + d]);
      let c3 = vec4f(k[at.w + d]);
      for (var r = 0u; r < ROWS; r++) {
        let x = subgroupShuffle(rows[r / LANES], r % LANES);
        score[r] += vec4f(dot(x, c0), dot(x, c1), dot(x, c2), dot(x, c3));
      }
    }
    for (var r = 0u; r < ROWS; r++) {
      let ends = select(p.S, t0 + r + 1u + p.S, p.causal == 1u);
      let seen = (s < vec4u(p.S)) & ((s + vec4u(p.T) < vec4u(ends)) | vec4<bool>(p.causal == 0u));
      let x = select(vec4f(-3e38), score[r] * p.scale, seen);
      let higher = max(top[r], subgroupMax(max(max(x.x, x.y), max(x.z, x.w))));
      let keep = exp(top[r] - higher);
      top[r] = higher;
      score[r] = exp(x - higher);
      total[r] = total[r] * keep + score[r];
      for (var j = 0u; j < QUADS; j++) { sums[j][r] *= keep; }
    }
    for (var l = 0u; l < min(LANES, (end - s0 + 3u) / 4u); l++) {
      for (var c = 0u; c < 4u; c++) {
        let from_key = keys + min(s0 + 4u * l + c, p.S - 1u) * step;
        for (var j = 0u; j < QUADS; j++) {
          let value = vec4f(v[from_key + min(j * LANES + lane, quads - 1u)]);
          for (var r = 0u; r < ROWS; r++) { sums[j][r] += subgroupShuffle(score[r][c], l) * value; }
        }
      }
    }
  }
  var scales: array<f32, ROWS>;
  var logs: array<f32, ROWS>;
  for (var r = 0u; r < ROWS; r++) {
    let sum = subgroupAdd(dot(total[r], vec4f(1.0)));
    scales[r] = select(0.0, 1.0 / sum, sum > 0.0);
    logs[r] = select(0.0, top[r] + log(sum), sum > 0.0);
  }
  // A start and a bound known only at run time keep this loop rolled (a bound of min(ROWS, ...) does not): unrolled, its stores take half of the
  // time to compile on a software adapter.
  var made = sums;
  for (var t = t0; t < min(t0 + ROWS, p.T); t++) {
    for (var j = 0u; j < QUADS; j++) {
      let quad = j * LANES + lane;
      if (quad < quads) { o[queries + t * p.N * quads + quad] = made[j][t - t0] * scales[t - t0]; }
    }
    if (lane == 0u) { lse[group.y * p.T + t] = logs[t - t0]; }
  }
}
