// code[r] = the first e with the smallest |z_r - e|^2, in f32. One subgroup takes four rows: lane l tries the codes l, l + LANES, ...; four
// values of a code at a time meet the rows, then the lanes compare their best. Vec4 along D.
enable subgroups;
struct Params { R: u32, D: u32, E: u32 }
@group(0) @binding(0) var<storage, read> z: array<vec4f>;
@group(0) @binding(1) var<storage, read> codebook: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> code: array<u32>;
@group(0) @binding(3) var<uniform> p: Params;
override LANES = 8u;

fn square(v: vec4f) -> f32 { return dot(v, v); }

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let first = group_index(group, groups) * 4u;
  let D = p.D / 4u;
  // Lane l brings row l % 4 to the others.
  let mine = min(first + lane % 4u, p.R - 1u) * D;
  var best = vec4f(3.4028234e38);
  var found = vec4u();
  for (var e = 0u; e < p.E; e += LANES) {
    let this_code = e + lane;
    let row = min(this_code, p.E - 1u) * D;
    var sum = vec4f();
    for (var d = 0u; d < D; d++) {
      let a = z[mine + d];
      let c = codebook[row + d];
      sum += vec4f(square(subgroupBroadcast(a, 0u) - c), square(subgroupBroadcast(a, 1u) - c),
                   square(subgroupBroadcast(a, 2u) - c), square(subgroupBroadcast(a, 3u) - c));
    }
    let nearer = (sum < best) & vec4<bool>(this_code < p.E);
    best = select(best, sum, nearer);
    found = select(found, vec4u(this_code), nearer);
  }
  for (var r = 0u; r < 4u; r++) {
    let least = subgroupMin(best[r]);
    let winner = subgroupMin(select(0xffffffffu, found[r], best[r] == least));
    if (lane == 0u && first + r < p.R) { code[first + r] = winner; }
  }
}
