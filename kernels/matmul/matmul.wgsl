// y[m, n] = sum over k of op(a)[m, k] op(b)[k, n]  (+ bias[n]) (+ residual[m, n]) (+ y[m, n] where acc is 1).
// op(a) is a (M, K), or its transpose where a is stored (K, M) and transA is 1; likewise b (K, N) or stored (N, K).
// One invocation makes one element.
alias AT = f32;
alias BT = f32;
alias CT = f32;
alias RT = f32;
alias YT = f32;
struct Params { M: u32, N: u32, K: u32, transA: u32, transB: u32, acc: u32, hasBias: u32, hasResidual: u32 }
@group(0) @binding(0) var<storage, read> a: array<AT>;
@group(0) @binding(1) var<storage, read> b: array<BT>;
@group(0) @binding(2) var<storage, read> bias: array<CT>;
@group(0) @binding(3) var<storage, read> residual: array<RT>;
@group(0) @binding(4) var<storage, read_write> y: array<YT>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.M * p.N) { return; }
  let m = i / p.N;
  let n = i % p.N;
  // Element (m, k) of op(a) is at m * rowA + k * stepA, element (k, n) of op(b) at n * columnB + k * stepB.
  let stepA = select(1u, p.M, p.transA == 1u);
  let rowA = select(p.K, 1u, p.transA == 1u);
  let stepB = select(p.N, 1u, p.transB == 1u);
  let columnB = select(1u, p.K, p.transB == 1u);
  var sum = 0.0;
  for (var k = 0u; k < p.K; k++) {
    sum += f32(a[m * rowA + k * stepA]) * f32(b[n * columnB + k * stepB]);
  }
  if (p.hasBias == 1u) { sum += f32(bias[n]); }
  if (p.hasResidual == 1u) { sum += f32(residual[i]); }
  if (p.acc == 1u) { sum += f32(y[i]); }
  y[i] = YT(sum);
}
