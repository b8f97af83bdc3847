// Cross-entropy of each row of logits (R, V), V a multiple of 4: LPR neighbouring lanes share a row; see cross_entropy.wgsl.
enable subgroups;
struct Params { R: u32, V: u32 }
@group(0) @binding(0) var<storage, read> logits: array<vec4f>;
@group(0) @binding(1) var<storage, read> targets: array<u32>;
@group(0) @binding(2) var<storage, read_write> ce: array<f32>;
@group(0) @binding(3) var<storage, read_write> lse: array<f32>;
@group(0) @binding(4) var<storage, read_write> correct: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;
override LPR = 8u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let i = group_index(group, groups) * WG + lane;
  let row = min(i / LPR, p.R - 1u);
  let n = p.V / 4u;
  let base = row * n;
  let part = i % LPR;
  var high = vec4f(-3.4028234e38);
  for (var v = part; v < n; v += LPR) { high = max(high, logits[base + v]); }
  let most = row_max(max(max(high.x, high.y), max(high.z, high.w)));
  let t = targets[row];
  var s = vec4f();
  var first = p.V;
  var chosen = 0.0;
  for (var v = part; v < n; v += LPR) {
    let x = logits[base + v];
    s += exp(x - most);
    let id = vec4u(4u * v, 4u * v + 1u, 4u * v + 2u, 4u * v + 3u);
    let equal = select(vec4u(p.V), id, x == vec4f(most));
    first = min(first, min(min(equal.x, equal.y), min(equal.z, equal.w)));
    chosen += dot(select(vec4f(), x, id == vec4u(t)), vec4f(1.0));
  }
  let all = most + log(row_sum(total(s)));
  let value = row_sum(chosen);
  let winner = row_first(first);
  if (i / LPR < p.R && part == 0u) {
    lse[row] = all;
    ce[row] = all - value;
    correct[row] = select(0u, 1u, winner == t);
  }
}
