// dq as in attention_dq.wgsl by tiles: one subgroup owns ROWS queries of one head and walks over the keys 4 * LANES at a time, in the
// layout of tile.wgsl. Needs D % 4 and D <= 4 * LANES * QUADS.
enable subgroups;
struct Params { B: u32, T: u32, S: u32, N: u32, K: u32, D: u32, scale: f32, causal: u32, padded: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> dout: array<vec4f>;
@group(0) @binding(4) var<storage, read> stat: array<vec2f>;
@group(0) @binding(5) var<storage, read> start: array<u32>;
@group(0) @binding(6) var<storage, read_write> dq: array<vec4f>;
@group(0) @binding(7) var<uniform> p: Params;
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

  var stats: array<vec2f, LOADS>;
  for (var i = 0u; i < LOADS; i++) { stats[i] = stat[group.y * p.T + min(t0 + (i * LANES + lane) % ROWS, p.T - 1u)]; }
  var sums: array<array<vec4f, ROWS>, QUADS>;
  for (var s0 = first; s0 < end; s0 += 4u * LANES) {
    let s = vec4u(s0 + 4u * lane) + vec4u(0u, 1u, 2u, 3u);
    let at = keys + min(s, vec4u(p.S - 1u)) * step;
    var score = array<vec4f, ROWS>();
    var dp = array<vec4f, ROWS>();
    for (var d = 0u; d < quads; d++) {
      var x: array<vec4f, LOADS>;
      var y: array<vec4f, LOADS>;
      for (var i = 0u; i < LOADS; i++) {
        let query = queries + min(t0 + (i * LANES + lane) % ROWS, p.T - 1u) * p.N * quads + d;
        x[i] = q[query];
        y[i] = dout[query];
      }
      let k0 = k[at.x + d]; let k1 = k[at.y + d]; let k2 = k[at.z + d]; let k3 = k[at.w + d];
      for (var r = 0u; r < ROWS; r++) {
        let row = subgroupShuffle(x[r / LANES], r % LANES);
        score[r] += vec4f(dot(row, k0), dot(row, k1), dot(row, k2), dot(row, k3));
      }
      let v0 = v[at.x + d]; let v1 = v[at.y + d]; let v2 = v[at.z + d]; let v3 = v[at.w + d];
      for (var r = 0u; r < ROWS; r++) {
        let row = subgroupShuffle(y[r / LANES], r % LANES);
        dp[r] += vec4f(dot(row, v0), dot(row, v1), dot(row, v2), dot(row, v3));
      }
    }
    for (var r = 0u; r < ROWS; r++) {
      let ends = select(p.S, t0 + r + 1u + p.S, p.causal == 1u);
      let seen = (s < vec4u(p.S)) & ((s + vec4u(p.T) < vec4u(ends)) | vec4<bool>(p.causal == 0u));
      let known = subgroupShuffle(stats[r / LANES], r % LANES);
      score[r] = select(vec4f(), exp(score[r] * p.scale - known.x) * (dp[r] - known.y) * p.scale, seen);
    }
    for (var l = 0u; l < min(LANES, (end - s0 + 3u) / 4u); l++) {
      for (var c = 0u; c < 4u; c++) {
        let from_key = keys + min(s0 + 4u * l + c, p.S - 1u) * step;
        for (var j = 0u; j < QUADS; j++) {
          let key = k[from_key + min(j * LANES + lane, quads - 1u)];
          for (var r = 0u; r < ROWS; r++) { sums[j][r] += subgroupShuffle(score[r][c], l) * key; }
        }
      }
    }
  }
  // A start and a bound known only at run time keep this loop rolled (a bound of min(ROWS, ...) does not): unrolled, its stores take half of the
  // time to compile on a software adapter.
  var made = sums;
  for (var t = t0; t < min(t0 + ROWS, p.T); t++) {
    for (var j = 0u; j < QUADS; j++) {
      let quad = j * LANES + lane;
      if (quad < quads) {
        let i = queries + t * p.N * quads + quad;
        var sum = made[j][t - t0];
        if (p.acc == 1u) { sum += dq[i]; }
        dq[i] = sum;
      }
    }
  }
}
