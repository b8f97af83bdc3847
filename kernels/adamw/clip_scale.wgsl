// norm = sqrt(sum of part); scale = min(1, clip / (norm + 1e-6)), 1 without clipping (clip 0), and 0 where the norm or the loss is not finite:
// then the update changes nothing. skips: how often that happened, and how often in a row.
struct Params { n: u32, clip: f32, hasLoss: u32 }
@group(0) @binding(0) var<storage, read> part: array<f32>;
@group(0) @binding(1) var<storage, read> loss: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm: array<f32>;
@group(0) @binding(3) var<storage, read_write> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> skips: array<u32>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

fn finite(v: f32) -> bool { return (bitcast<u32>(v) & 0x7f800000u) != 0x7f800000u; }

@compute @workgroup_size(WG)
fn main(@builtin(local_invocation_index) lane: u32) {
  var s = 0.0;
  for (var i = lane; i < p.n; i += WG) { s += part[i]; }
  let total = sqrt(workgroup_sum(s, lane));
  if (lane > 0u) { return; }
  norm[0] = total;
  let good = finite(total) && (p.hasLoss == 0u || finite(loss[0]));
  let wanted = select(1.0, min(1.0, p.clip / (total + 1e-6)), p.clip > 0.0);
  scale[0] = select(0.0, wanted, good);
  skips[0] += select(1u, 0u, good);
  skips[1] = select(skips[1] + 1u, 0u, good);
}
