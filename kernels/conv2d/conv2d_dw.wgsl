// Parts of dw and db over a range of output pixels: part[s, (o,ky,kx,i)] = sum over p of dy[p,o] x[q(p,ky,kx),i], and behind the weights
// part[s, o] = sum over p of dy[p,o]. Range s is pixels s*span ... of all pictures together. One invocation sums one value.
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, span: u32 }
@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> dy: array<f32>;
@group(0) @binding(2) var<storage, read_write> part: array<f32>;
@group(0) @binding(3) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let n = group.x * WG + lane;
  let weights = p.O * p.KH * p.KW * p.I;
  if (n >= weights + p.O) { return; }
  let first = group.y * p.span;
  let last = min(first + p.span, p.B * p.OH * p.OW);
  let i = n % p.I;
  let kx = n / p.I % p.KW;
  let ky = n / (p.I * p.KW) % p.KH;
  let o = select(n / (p.I * p.KW * p.KH), n - weights, n >= weights);
  var sum = 0.0;
  for (var q = first; q < last; q++) {
    let d = dy[q * p.O + o];
    if (n >= weights) { sum += d; continue; }
    let sx = q % p.OW * p.stride + kx;
    let sy = q / p.OW % p.OH * p.stride + ky;
    if (sx < p.pad || sy < p.pad || sx - p.pad >= p.W || sy - p.pad >= p.H) { continue; }
    sum += d * x[((q / (p.OW * p.OH) * p.H + sy - p.pad) * p.W + sx - p.pad) * p.I + i];
  }
  part[group.y * (weights + p.O) + n] = sum;
}
