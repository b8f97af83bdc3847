// The window along rows as in flow_rows.wgsl, four columns an invocation: every quad of the window is loaded once for four sums. Needs W % 4 = 0.
struct Params { H: u32, W: u32, R: u32 }
@group(0) @binding(0) var<storage, read> terms: array<vec4f>;
@group(0) @binding(1) var<storage, read> window: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec4f>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 8u;

fn tap(i: i32) -> f32 {
  return select(0.0, window[u32(clamp(i, 0, 2 * i32(p.R)))], i >= 0 && i <= 2 * i32(p.R));
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  let quads = p.W / 4u;
  if (n >= 5u * p.H * quads) { return; }
  let x = i32(n % quads);
  let reach = (i32(p.R) + 3) / 4;
  var sum = vec4f();
  for (var k = -reach; k <= reach; k++) {
    let inside = x + k >= 0 && x + k < i32(quads);
    let four = select(vec4f(), terms[u32(i32(n) + select(0, k, inside))], inside);
    // Column 4 k + c of the window's quad meets output column j under the weight 4 k + c - j from the centre.
    let o = 4 * k + i32(p.R);
    let low = vec4f(tap(o - 3), tap(o - 2), tap(o - 1), tap(o));
    let high = vec3f(tap(o + 1), tap(o + 2), tap(o + 3));
    sum += vec4f(
      dot(four, vec4f(low.w, high)),
      dot(four, vec4f(low.zw, high.xy)),
      dot(four, vec4f(low.yzw, high.x)),
      dot(four, low),
    );
  }
  sums[n] = sum;
}
