// y[p,o] = b[o] + sum over ky,kx,i of x[q,i] w[o,ky,kx,i] (+ r[p,o] where `residual` is 1, + the old y where acc is 1), NHWC. Output pixel (oy,ox) meets, for tap
// (ky,kx), the input pixel q at ((oy stride + ky - pad) / up, (ox stride + kx - pad) / up) where that is whole and inside. up > 1 is the
// gradient of a strided convolution. One invocation computes one output value.
alias XT = f32;
alias WT = f32;
alias BT = f32;
alias RT = f32;
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, up: u32, bias: u32, residual: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<XT>;
@group(0) @binding(1) var<storage, read> w: array<WT>;
@group(0) @binding(2) var<storage, read> b: array<BT>;
@group(0) @binding(3) var<storage, read> r: array<RT>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group_index(group, groups) * WG + lane;
  if (n >= p.B * p.OH * p.OW * p.O) { return; }
  let o = n % p.O;
  let ox = n / p.O % p.OW;
  let oy = n / (p.O * p.OW) % p.OH;
  let picture = n / (p.O * p.OW * p.OH);
  var sum = 0.0;
  for (var ky = 0u; ky < p.KH; ky++) {
    let iy = source_index(oy * p.stride + ky, p.H);
    if (iy < 0) { continue; }
    for (var kx = 0u; kx < p.KW; kx++) {
      let ix = source_index(ox * p.stride + kx, p.W);
      if (ix < 0) { continue; }
      let start = ((picture * p.H + u32(iy)) * p.W + u32(ix)) * p.I;
      let tap = ((o * p.KH + ky) * p.KW + kx) * p.I;
      for (var i = 0u; i < p.I; i++) { sum += f32(x[start + i]) * f32(w[tap + i]); }
    }
  }
  if (p.bias == 1u) { sum += f32(b[o]); }
  if (p.residual == 1u) { sum += f32(r[n]); }
  if (p.acc == 1u) { sum += y[n]; }
  y[n] = sum;
}

// The input coordinate of a padded, spread one; -1 where there is none.
fn source_index(at: u32, size: u32) -> i32 {
  let t = at - p.pad;
  if (at < p.pad || t % p.up != 0u || t / p.up >= size) { return -1; }
  return i32(t / p.up);
}
