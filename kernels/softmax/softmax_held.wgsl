// y[r, c] = exp(x[r, c] - m) / sum over c of exp(x[r, c] - m), m the largest value of the row. A row has at most 4 N LPR columns: one
// subgroup walks PER rows and holds its row in registers, so that every number is loaded once and every exponential made once.
enable subgroups;
struct Params { rows: u32, C: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override LPR = 8u;
override PER = 1u;
const N = 2;
const lowest = -3.4028234663852886e38;

@compute @workgroup_size(LPR)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = p.C / 4u;
  let first = group_index(group, groups) * PER;
  for (var row = first; row < min(first + PER, p.rows); row++) {
    var v: array<vec4f, N>;
    var m = vec4f(lowest);
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      v[k] = vec4f(lowest);
      if (c < n) { v[k] = x[row * n + c]; }
      m = max(m, v[k]);
    }
    let top = row_max(max(max(m.x, m.y), max(m.z, m.w)));
    var s = vec4f();
    for (var k = 0; k < N; k++) {
      // In a row that is masked throughout, what lies past its end is no lower.
      v[k] = select(vec4f(), exp(v[k] - top), lane + u32(k) * LPR < n);
      s += v[k];
    }
    let scale = 1.0 / row_sum(total(s));
    for (var k = 0; k < N; k++) {
      let c = lane + u32(k) * LPR;
      if (c < n) { y[row * n + c] = v[k] * scale; }
    }
  }
}
