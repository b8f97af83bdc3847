// y[m, n] = sum over k of op(a)[m, k] op(b)[k, n]  (+ bias[n]) (+ residual[m, n]) (+ y[m, n] where acc is 1).
// op(a) is a (M, K), or its transpose where a is stored (K, M) and transA is 1; likewise b (K, N) or stored (N, K).
// a and y may be blocks of columns of wider matrices: rows are strideA and strideY long, the block begins at column startA and startY (bias
// and residual go with y). b is read as it is stored (kernels/lib/stored_f32.wgsl and its kin). One invocation makes one element.
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
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  if (i >= p.M * p.N) { return; }
  let m = i / p.N;
  let n = i % p.N;
  // Element (m, k) of op(a) is at startA + m * rowA + k * stepA.
  let rowA = select(p.strideA, 1u, p.transA == 1u);
  let stepA = select(1u, p.strideA, p.transA == 1u);
  let columns = select(p.N, p.K, p.transB == 1u);
  var sum = 0.0;
  for (var k = 0u; k < p.K; k++) {
    let w = stored1(select(k, n, p.transB == 1u), select(n, k, p.transB == 1u), columns, p.group);
    sum += f32(a[p.startA + m * rowA + k * stepA]) * w;
  }
  let at = m * p.strideY + p.startY + n;
  if (p.hasBias == 1u) { sum += f32(bias[p.startY + n]); }
  if (p.hasResidual == 1u) { sum += f32(residual[at]); }
  if (p.acc == 1u) { sum += f32(y[at]); }
  y[at] = YT(sum);
}
