// dk and dv as in attention_dkv.wgsl by tiles: one subgroup owns ROWS keys of one head and walks over the queries of every head that
// shares it 4 * LANES at a time: a lane holds four queries of every key's row. Needs D % 4 and D <= 4 * LANES * QUADS.
enable subgroups;
struct Params { B: u32, T: u32, S: u32, N: u32, K: u32, D: u32, scale: f32, causal: u32, padded: u32, accK: u32, accV: u32 }
@group(0) @binding(0) var<storage, read> q: array<vec4f>;
@group(0) @binding(1) var<storage, read> k: array<vec4f>;
@group(0) @binding(2) var<storage, read> v: array<vec4f>;
@group(0) @binding(3) var<storage, read> dout: array<vec4f>;
@group(0) @binding(4) var<storage, read> stat: array<vec2f>;
@group(0) @binding(5) var<storage, read> start: array<u32>;
@group(0) @binding(6) var<storage, read_write> dk: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> dv: array<vec4f>;
@group(0) @binding(8) var<uniform> p: Params;
const ROWS = 16u;
const LANES = 8u;
const LOADS = 2u;
const QUADS = 1u;
override WG = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let b = group.y / p.K;
  let head = group.y % p.K;
  let s0 = group.x * ROWS;
  let quads = p.D / 4u;
  let keys = (b * p.S * p.K + head) * quads;
  let share = p.N / p.K;
  var hidden = 0u;
  if (p.padded == 1u) { hidden = start[b]; }
  var first = 0u;
  if (p.causal == 1u) { first = u32(max(i32(s0 + p.T) - i32(p.S), 0)); }
  if (s0 + ROWS <= hidden) { first = p.T; }

  var sumK: array<array<vec4f, ROWS>, QUADS>;
  var sumV: array<array<vec4f, ROWS>, QUADS>;
  for (var n = head * share; n < (head + 1u) * share; n++) {
    let queries = (b * p.T * p.N + n) * quads;
    for (var t0 = first; t0 < p.T; t0 += 4u * LANES) {
      let t = vec4u(t0 + 4u * lane) + vec4u(0u, 1u, 2u, 3u);
      let seen_t = min(t, vec4u(p.T - 1u));
      let at = queries + seen_t * p.N * quads;
      var score = array<vec4f, ROWS>();
      var dp = array<vec4f, ROWS>();
      for (var d = 0u; d < quads; d++) {
        var x: array<vec4f, LOADS>;
        var y: array<vec4f, LOADS>;
        for (var i = 0u; i < LOADS; i++) {
          let key = keys + min(s0 + (i * LANES + lane) % ROWS, p.S - 1u) * p.K * quads + d;
          x[i] = k[key];
          y[i] = v[key];
        }
        let q0 = q[at.x + d]; let q1 = q[at.y + d]; let q2 = q[at.z + d]; let q3 = q[at.w + d];
        for (var r = 0u; r < ROWS; r++) {
          let row = subgroupShuffle(x[r / LANES], r % LANES);
          score[r] += vec4f(dot(row, q0), dot(row, q1), dot(row, q2), dot(row, q3));
        }
        let o0 = dout[at.x + d]; let o1 = dout[at.y + d]; let o2 = dout[at.z + d]; let o3 = dout[at.w + d];
        for (var r = 0u; r < ROWS; r++) {
          let row = subgroupShuffle(y[r / LANES], r % LANES);
          dp[r] += vec4f(dot(row, o0), dot(row, o1), dot(row, o2), dot(row, o3));
        }
      }
      let rows = (b * p.N + n) * p.T + seen_t;
      let a0 = stat[rows.x]; let a1 = stat[rows.y]; let a2 = stat[rows.z]; let a3 = stat[rows.w];
      let logs = vec4f(a0.x, a1.x, a2.x, a3.x);
      let deltas = vec4f(a0.y, a1.y, a2.y, a3.y);
      for (var r = 0u; r < ROWS; r++) {
        let s = s0 + r;
        let seen = (t < vec4u(p.T)) & ((vec4u(s + p.T) <= t + vec4u(p.S)) | vec4<bool>(p.causal == 0u)) & vec4<bool>(s >= hidden);
        let weight = select(vec4f(), exp(score[r] * p.scale - logs), seen);
        score[r] = weight;
        dp[r] = weight * (dp[r] - deltas) * p.scale;
      }
      for (var l = 0u; l < min(LANES, (p.T - t0 + 3u) / 4u); l++) {
        for (var c = 0u; c < 4u; c++) {
          let query = queries + min(t0 + 4u * l + c, p.T - 1u) * p.N * quads;
          for (var j = 0u; j < QUADS; j++) {
            let i = query + min(j * LANES + lane, quads - 1u);
            let x = q[i];
            let y = dout[i];
            for (var r = 0u; r < ROWS; r++) {
              sumK[j][r] += subgroupShuffle(dp[r][c], l) * x;
              sumV[j][r] += subgroupShuffle(score[r][c], l) * y;
            }
          }
        }
      }
    }
  }
  // A start and a bound known only at run time keep this loop rolled (a bound of min(ROWS, ...) does not): unrolled, its stores take half of the
  // time to compile on a software adapter.
  var madeK = sumK;
  var madeV = sumV;
  for (var s = s0; s < min(s0 + ROWS, p.S); s++) {
    for (var j = 0u; j < QUADS; j++) {
      let quad = j * LANES + lane;
      if (quad < quads) {
        let i = keys + s * p.K * quads + quad;
        var ofK = madeK[j][s - s0];
        var ofV = madeV[j][s - s0];
        if (p.accK == 1u) { ofK += dk[i]; }
        if (p.accV == 1u) { ofV += dv[i]; }
        dk[i] = ofK;
        dv[i] = ofV;
      }
    }
  }
}
