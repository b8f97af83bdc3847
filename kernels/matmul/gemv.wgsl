// y = a b^T as in matmul.wgsl for a few rows of a, which is bound by reading b: one subgroup makes four columns of all ROWS rows. Its lanes
// take turns along k, so every load is contiguous over the subgroup and serves ROWS or four products; one sum over lanes at the end.
// Needs K % 4 and N % 4.
enable subgroups;
alias AT = f32;
alias BT = f32;
alias CT = f32;
alias RT = f32;
alias YT = f32;
struct Params { M: u32, N: u32, K: u32, transA: u32, transB: u32, acc: u32, hasBias: u32, hasResidual: u32 }
@group(0) @binding(0) var<storage, read> a: array<vec4<AT>>;
@group(0) @binding(1) var<storage, read> b: array<vec4<BT>>;
@group(0) @binding(2) var<storage, read> bias: array<vec4<CT>>;
@group(0) @binding(3) var<storage, read> residual: array<vec4<RT>>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4<YT>>;
@group(0) @binding(5) var<uniform> p: Params;
const ROWS = 1u;
override WG = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let quad = group_index(group, groups);
  if (quad >= p.N / 4u) { return; }
  let steps = p.K / 4u;
  let at = quad * p.K;
  var sums: array<mat4x4f, ROWS>;
  for (var k = lane; k < steps; k += WG) {
    let b0 = vec4f(b[at + k]);
    let b1 = vec4f(b[at + steps + k]);
    let b2 = vec4f(b[at + 2u * steps + k]);
    let b3 = vec4f(b[at + 3u * steps + k]);
    for (var m = 0u; m < ROWS; m++) {
      let x = vec4f(a[m * steps + k]);
      sums[m] += mat4x4f(x * b0, x * b1, x * b2, x * b3);
    }
  }
  for (var m = 0u; m < ROWS; m++) {
    var sum = subgroupAdd(transpose(sums[m]) * vec4f(1.0));
    if (lane == 0u) {
      let i = m * (p.N / 4u) + quad;
      if (p.hasBias == 1u) { sum += vec4f(bias[quad]); }
      if (p.hasResidual == 1u) { sum += vec4f(residual[i]); }
      if (p.acc == 1u) { sum += vec4f(y[i]); }
      y[i] = vec4<YT>(sum);
    }
  }
}
