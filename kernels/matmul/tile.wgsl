// y = op(a) op(b) as in matmul.wgsl, by register tiles: one subgroup owns ROWS rows by 4 * LANES columns, each lane four columns.
// Per step of four k the lanes load the tile's piece of a once between them and hand it round by shuffles; no workgroup memory, no
// barriers. Needs vec4 loads: K % 4 where a row of k is loaded, M % 4 where a is stored (K, M), N % 4, strides and starts always.
enable subgroups;
alias AT = f32;
alias ST = f32;
alias CT = f32;
alias RT = f32;
alias YT = f32;
struct Params {
  M: u32, N: u32, K: u32, transA: u32, transB: u32, acc: u32, hasBias: u32, hasResidual: u32,
  strideA: u32, startA: u32, strideY: u32, startY: u32, group: u32,
}
@group(0) @binding(0) var<storage, read> a: array<vec4<AT>>;
@group(0) @binding(1) var<storage, read> stored: array<Stored4>;
@group(0) @binding(2) var<storage, read> scales: array<ST>;
@group(0) @binding(3) var<storage, read> bias: array<vec4<CT>>;
@group(0) @binding(4) var<storage, read> residual: array<vec4<RT>>;
@group(0) @binding(5) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(6) var<uniform> p: Params;
const ROWS = 32u;
const LANES = 8u;
const LOADS = 4u;
override WG = 8u;
override TRANS_A = 0u;
override TRANS_B = 0u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let top = group.x * ROWS;
  let quads = p.N / 4u;
  let quad = group.y * LANES + lane;
  let column = min(quad, quads - 1u);
  var acc: array<vec4f, ROWS>;
  for (var k = 0u; k < p.K; k += 4u) {
    var rows: array<vec4f, LOADS>;
    for (var i = 0u; i < LOADS; i++) {
      let unit = (i * LANES + lane) % ROWS;
      if (TRANS_A == 1u) {
        let kk = min(k + unit / (ROWS / 4u), p.K - 1u);
        rows[i] = vec4f(a[(kk * p.strideA + p.startA) / 4u + min(top / 4u + unit % (ROWS / 4u), p.M / 4u - 1u)]);
      } else {
        rows[i] = vec4f(a[(min(top + unit, p.M - 1u) * p.strideA + p.startA + k) / 4u]);
      }
    }
    var b0: vec4f; var b1: vec4f; var b2: vec4f; var b3: vec4f;
    if (TRANS_B == 1u) {
      let row = 4u * column;
      let c0 = stored4(row, k / 4u, p.K, p.group);
      let c1 = stored4(row + 1u, k / 4u, p.K, p.group);
      let c2 = stored4(row + 2u, k / 4u, p.K, p.group);
      let c3 = stored4(row + 3u, k / 4u, p.K, p.group);
      b0 = vec4f(c0.x, c1.x, c2.x, c3.x);
      b1 = vec4f(c0.y, c1.y, c2.y, c3.y);
      b2 = vec4f(c0.z, c1.z, c2.z, c3.z);
      b3 = vec4f(c0.w, c1.w, c2.w, c3.w);
    } else {
      let last = p.K - 1u;
      b0 = stored4(k, column, p.N, p.group);
      b1 = stored4(min(k + 1u, last), column, p.N, p.group);
      b2 = stored4(min(k + 2u, last), column, p.N, p.group);
      b3 = stored4(min(k + 3u, last), column, p.N, p.group);
      b1 = select(vec4f(), b1, k + 1u < p.K);
      b2 = select(vec4f(), b2, k + 2u < p.K);
      b3 = select(vec4f(), b3, k + 3u < p.K);
    }
    for (var r = 0u; r < ROWS; r++) {
      if (TRANS_A == 1u) {
        let q = ROWS / 4u;
        let u = r / 4u;
        let v0 = subgroupShuffle(rows[u / LANES][r % 4u], u % LANES);
        let v1 = subgroupShuffle(rows[(u + q) / LANES][r % 4u], (u + q) % LANES);
        let v2 = subgroupShuffle(rows[(u + 2u * q) / LANES][r % 4u], (u + 2u * q) % LANES);
        let v3 = subgroupShuffle(rows[(u + 3u * q) / LANES][r % 4u], (u + 3u * q) % LANES);
        acc[r] += v0 * b0 + v1 * b1 + v2 * b2 + v3 * b3;
      } else {
        let v = subgroupShuffle(rows[r / LANES], r % LANES);
        acc[r] += v.x * b0 + v.y * b1 + v.z * b2 + v.w * b3;
      }
    }
  }
  if (quad >= quads) { return; }
  var shift = vec4f();
  if (p.hasBias == 1u) { shift = vec4f(bias[p.startY / 4u + quad]); }
  // A bound known only at run time keeps this loop rolled: unrolled, its loads and stores take seconds to compile on a software adapter.
  var sums = acc;
  for (var r = 0u; r < min(ROWS, p.M - top); r++) {
    let i = ((top + r) * p.strideY + p.startY) / 4u + quad;
    var sum = sums[r] + shift;
    if (p.hasResidual == 1u) { sum += vec4f(residual[i]); }
    if (p.acc == 1u) { sum += vec4f(y[i]); }
    y[i] = vec4<YT>(sum);
  }
}
