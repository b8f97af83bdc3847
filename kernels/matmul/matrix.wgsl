// y as in matmul.wgsl for a and b in f16 on matrix units with sums in f32. A workgroup is SUBGROUPS x SUBGROUPS subgroups, each of which makes
// TILES x TILES tiles of TM x TN; lib/matrix_units.wgsl has the units. What is added to the sums is added by lanes, from workgroup memory, so
// that how a unit lays a tile out over its lanes does not matter. Needs M, N and K that are whole tiles.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
alias AT = f16;
alias ST = f32;
alias CT = f32;
alias RT = f32;
alias YT = f32;
struct Params {
  M: u32, N: u32, K: u32, transA: u32, transB: u32, acc: u32, hasBias: u32, hasResidual: u32,
  strideA: u32, startA: u32, strideY: u32, startY: u32, group: u32,
}
@group(0) @binding(0) var<storage, read> a: array<AT>;
@group(0) @binding(1) var<storage, read> stored: array<f16>;
@group(0) @binding(2) var<storage, read> scales: array<ST>;
@group(0) @binding(3) var<storage, read> bias: array<CT>;
@group(0) @binding(4) var<storage, read> residual: array<RT>;
@group(0) @binding(5) var<storage, read_write> y: array<YT>;
@group(0) @binding(6) var<uniform> p: Params;
override TRANS_A = 0u;
override TRANS_B = 1u;
// Rows and columns that a workgroup makes: SUBGROUPS * TILES tiles.
override SPAN_M = 128u;
override SPAN_N = 128u;
const LANES = 32u;
const TM = 16u;
const TN = 16u;
const TK = 16u;
const TILES = 4u;
const SUBGROUPS = 2u;
var<workgroup> tiles: array<f32, SUBGROUPS * SUBGROUPS * TM * TN>;

fn left_tile(m: u32, k: u32) -> Left {
  if (TRANS_A == 1u) { return left_columns(&a, k * p.strideA + p.startA + m, p.strideA); }
  return left_rows(&a, m * p.strideA + p.startA + k, p.strideA);
}

fn right_tile(k: u32, n: u32) -> Right {
  if (TRANS_B == 1u) { return right_columns(&stored, n * p.K + k, p.K); }
  return right_rows(&stored, k * p.N + n, p.N);
}

@compute @workgroup_size(SUBGROUPS * SUBGROUPS * LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
  let m0 = group.x * SPAN_M + subgroup / SUBGROUPS * TILES * TM;
  let n0 = group.y * SPAN_N + subgroup % SUBGROUPS * TILES * TN;
  var sums: array<Sums, TILES * TILES>;
  for (var k = 0u; k < p.K; k += TK) {
    var left: array<Left, TILES>;
    for (var i = 0u; i < TILES; i++) { left[i] = left_tile(min(m0 + i * TM, p.M - TM), k); }
    for (var j = 0u; j < TILES; j++) {
      let right = right_tile(k, min(n0 + j * TN, p.N - TN));
      for (var i = 0u; i < TILES; i++) { sums[i * TILES + j] = multiply_tiles(left[i], right, sums[i * TILES + j]); }
    }
  }
  let at = subgroup * TM * TN;
  for (var i = 0u; i < TILES; i++) {
    for (var j = 0u; j < TILES; j++) {
      put_sums(sums[i * TILES + j], at);
      workgroupBarrier();
      // Tiles past the end were made of the last ones, and are left out.
      if (m0 + i * TM < p.M && n0 + j * TN < p.N) {
        for (var e = lane; e < TM * TN; e += LANES) {
          let n = n0 + j * TN + e % TN;
          let place = (m0 + i * TM + e / TN) * p.strideY + p.startY + n;
          var sum = tiles[at + e];
          if (p.hasBias == 1u) { sum += f32(bias[p.startY + n]); }
          if (p.hasResidual == 1u) { sum += f32(residual[place]); }
          if (p.acc == 1u) { sum += f32(y[place]); }
          y[place] = YT(sum);
        }
      }
      workgroupBarrier();
    }
  }
}
