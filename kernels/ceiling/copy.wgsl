// y = x, PER times four values an invocation: what moving memory costs at least.
struct Params { n: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> p: Params;
override WG = 64u;
override PER = 16u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let begin = group_index(group, groups) * WG * PER + lane;
  let end = min(begin + WG * PER, p.n / 4u);
  for (var i = begin; i < end; i += WG) { y[i] = x[i]; }
}
