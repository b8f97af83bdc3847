// y = op(a) op(b) as in matmul.wgsl for real GPUs: a workgroup of 16 by 16 makes 64 by 64 elements, 4 by 4 an invocation, from pieces of a
// and b of depth 16 that it copies to workgroup memory. Neighbouring invocations read neighbouring elements whichever way an operand is
// stored. Any sizes.
alias AT = f32;
alias ST = f32;
alias CT = f32;
alias RT = f32;
alias YT = f32;
struct Params {
  M: u32, N: u32, K: u32, transA: u32, transB: u32, acc: u32, hasBias: u32, hasResidual: u32,
  strideA: u32, startA: u32, strideY: u32, startY: u32, group: u32,
}
@group(0) @binding(0) var<storage, read> a: array<AT>;
@group(0) @binding(1) var<storage, read> stored: array<Stored4>;
@group(0) @binding(2) var<storage, read> scales: array<ST>;
@group(0) @binding(3) var<storage, read> bias: array<CT>;
@group(0) @binding(4) var<storage, read> residual: array<RT>;
@group(0) @binding(5) var<storage, read_write> y: array<YT>;
@group(0) @binding(6) var<uniform> p: Params;
const TILE = 64u;
const DEPTH = 16u;
override TRANS_A = 0u;
override TRANS_B = 0u;
// Rows of 4 quads more than a tile, so that the writes of a column fall into different banks.
var<workgroup> pieceA: array<array<vec4f, 17>, DEPTH>;
var<workgroup> pieceB: array<array<vec4f, 17>, DEPTH>;

// Place (quad along the tile, k) of the vec4 that the i-th invocation copies, by whether memory runs along k. A vec4 has one writer, because a write to a
// component of a vector in memory may write all of it.
fn place(i: u32, alongK: bool) -> vec2u {
  return select(vec2u(i % 16u, i / 16u), vec2u(i / DEPTH, i % DEPTH), alongK);
}

@compute @workgroup_size(16, 16)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u, @builtin(local_invocation_index) index: u32) {
  let top = group.x * TILE;
  let left = group.y * TILE;
  var sums: array<vec4f, 4>;
  for (var k0 = 0u; k0 < p.K; k0 += DEPTH) {
    let forA = place(index, TRANS_A == 0u);
    let forB = place(index, TRANS_B == 1u);
    let kA = k0 + forA.y;
    let kB = k0 + forB.y;
    var x = vec4f();
    var w = vec4f();
    for (var c = 0u; c < 4u; c++) {
      let m = top + 4u * forA.x + c;
      if (m < p.M && kA < p.K) { x[c] = f32(a[p.startA + select(m * p.strideA + kA, kA * p.strideA + m, TRANS_A == 1u)]); }
      let n = left + 4u * forB.x + c;
      if (n < p.N && kB < p.K) { w[c] = stored1(select(kB, n, TRANS_B == 1u), select(n, kB, TRANS_B == 1u), select(p.N, p.K, TRANS_B == 1u), p.group); }
    }
    pieceA[forA.y][forA.x] = x;
    pieceB[forB.y][forB.x] = w;
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      let x = pieceA[k][id.y];
      let w = pieceB[k][id.x];
      sums[0] += x.x * w;
      sums[1] += x.y * w;
      sums[2] += x.z * w;
      sums[3] += x.w * w;
    }
    workgroupBarrier();
  }
  for (var r = 0u; r < 4u; r++) {
    for (var c = 0u; c < 4u; c++) {
      let m = top + id.y * 4u + r;
      let n = left + id.x * 4u + c;
      if (m < p.M && n < p.N) {
        let i = m * p.strideY + p.startY + n;
        var sum = sums[r][c];
        if (p.hasBias == 1u) { sum += f32(bias[p.startY + n]); }
        if (p.hasResidual == 1u) { sum += f32(residual[i]); }
        if (p.acc == 1u) { sum += f32(y[i]); }
        y[i] = YT(sum);
      }
    }
  }
}
