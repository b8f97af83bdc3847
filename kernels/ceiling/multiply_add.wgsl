// y[i] = the mean of three vec4 chains after `steps` times 16 rounds of v = v * a + b from small v: nothing is loaded or stored in the loop, so
// that multiplying and adding is all there is to do. Twelve chains cover the latency and still fit the registers of a processor's vector unit.
alias T = f32;
struct Params { n: u32, steps: u32, a: f32, b: f32 }
@group(0) @binding(0) var<storage, read_write> y: array<T>;
@group(0) @binding(1) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let a = vec4<T>(T(p.a));
  let b = vec4<T>(T(p.b));
  let v = vec4<T>(T(i % 64u));
  var c0 = v;
  var c1 = v + T(1);
  var c2 = v + T(2);
  for (var s = 0u; s < p.steps; s++) {
    for (var k = 0u; k < 16u; k++) {
      c0 = fma(c0, a, b);
      c1 = fma(c1, a, b);
      c2 = fma(c2, a, b);
    }
  }
  if (i < p.n) { y[i] = dot(c0 + c1 + c2, vec4<T>(T(1.0 / 12.0))); }
}
