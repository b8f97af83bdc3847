// y = a b^T as in matmul.wgsl for a few rows of a, which is bound by reading b: one subgroup makes four columns of all ROWS rows. Its lanes
// take turns along k, so every load is contiguous over the subgroup and serves ROWS or four products; one sum over lanes at the end.
// Needs K % 4, N % 4 and
// strides and starts that are multiples of four.
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
const ROWS = 1u;
override WG = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let quad = group_index(group, groups);
  if (quad >= p.N / 4u) { return; }
  let steps = p.K / 4u;
  let row = 4u * quad;
  var sums: array<mat4x4f, ROWS>;
  for (var k = lane; k < steps; k += WG) {
    let b0 = stored4(row, k, p.K, p.group);
    let b1 = stored4(row + 1u, k, p.K, p.group);
    let b2 = stored4(row + 2u, k, p.K, p.group);
    let b3 = stored4(row + 3u, k, p.K, p.group);
    for (var m = 0u; m < ROWS; m++) {
      let x = vec4f(a[(m * p.strideA + p.startA) / 4u + k]);
      sums[m] += mat4x4f(x * b0, x * b1, x * b2, x * b3);
    }
  }
  for (var m = 0u; m < ROWS; m++) {
    var sum = subgroupAdd(transpose(sums[m]) * vec4f(1.0));
    if (lane == 0u) {
      let i = (m * p.strideY + p.startY) / 4u + quad;
      if (p.hasBias == 1u) { sum += vec4f(bias[p.startY / 4u + quad]); }
      if (p.hasResidual == 1u) { sum += vec4f(residual[i]); }
      if (p.acc == 1u) { sum += vec4f(y[i]); }
      y[i] = vec4<YT>(sum);
    }
  }
}
