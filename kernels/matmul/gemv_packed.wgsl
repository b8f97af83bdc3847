// y = a b^T as in gemv.wgsl for packed b: one subgroup makes eight columns of all ROWS rows; each lane reads 16 bytes of a row of b at a time,
// VALUES numbers, and multiplies their bits as they stand: kernels/lib/packed_<dtype>.wgsl says what a must be multiplied with for that, and what
// is taken off at the end of a group. Needs N % 8, K % VALUES, groups of at least VALUES, and strides and starts that are multiples of four.
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
@group(0) @binding(1) var<storage, read> stored: array<vec4u>;
@group(0) @binding(2) var<storage, read> scales: array<ST>;
@group(0) @binding(3) var<storage, read> bias: array<CT>;
@group(0) @binding(4) var<storage, read> residual: array<RT>;
@group(0) @binding(5) var<storage, read_write> y: array<YT>;
@group(0) @binding(6) var<uniform> p: Params;
const ROWS = 1u;
const COLUMNS = 8u;
override WG = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let first = group_index(group, groups) * COLUMNS;
  if (first >= p.N) { return; }
  let steps = p.K / VALUES;
  let perRow = (p.K + (1u << p.group) - 1u) >> p.group;
  var sums: array<array<f32, COLUMNS>, ROWS>;
  for (var k = lane; k < steps; k += WG) {
    var x: array<array<vec4f, QUADS>, ROWS>;
    var total: array<f32, ROWS>;
    for (var m = 0u; m < ROWS; m++) {
      var whole = vec4f();
      for (var q = 0u; q < QUADS; q++) {
        let v = vec4f(a[(m * p.strideA + p.startA) / 4u + k * QUADS + q]);
        whole += v;
        x[m][q] = prepared(v, q);
      }
      total[m] = whole.x + whole.y + whole.z + whole.w;
    }
    for (var c = 0u; c < COLUMNS; c++) {
      let w = stored[(first + c) * steps + k];
      let scale = scale_of((first + c) * perRow + ((k * VALUES) >> p.group));
      for (var m = 0u; m < ROWS; m++) {
        sums[m][c] += scale * (product(w, x[m]) - OFFSET * total[m]);
      }
    }
  }
  for (var m = 0u; m < ROWS; m++) {
    for (var c = 0u; c < COLUMNS; c++) {
      var sum = subgroupAdd(sums[m][c]);
      if (lane == 0u) {
        let n = p.startY + first + c;
        let i = m * p.strideY + n;
        if (p.hasBias == 1u) { sum += f32(bias[n]); }
        if (p.hasResidual == 1u) { sum += f32(residual[i]); }
        if (p.acc == 1u) { sum += f32(y[i]); }
        y[i] = YT(sum);
      }
    }
  }
}
