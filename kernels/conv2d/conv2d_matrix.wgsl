// The convolution as in conv2d.wgsl, up = 1, for x and w in f16 on matrix units with sums in f32: rows of the product are output pixels, columns output
// channels, terms the channels under one tap after another. A workgroup is SUBGROUPS x SUBGROUPS subgroups, each of which makes TILES_M x TILES_N tiles
// of TM x TN; lib/matrix_units.wgsl has the units. Where the kernel reaches over a border, or a tile over the end of a row of pixels, the pixels under
// a tap are not evenly spaced, so the workgroup gathers them, TK channels at a time and zeros where there are none, into one half of a buffer while slower
// subgroups still multiply from the other; weights are read where they lie. What is added to the sums is added by lanes, so that how a unit
// lays a tile out over its lanes does not matter. Needs I and O in whole tiles, and vec4s in TK; any number of pixels.
enable f16;
enable subgroups;
enable chromium_experimental_subgroup_matrix;
alias XT = f16;
alias WT = f16;
alias BT = f32;
alias RT = f32;
struct Params { B: u32, H: u32, W: u32, I: u32, OH: u32, OW: u32, O: u32, KH: u32, KW: u32, stride: u32, pad: u32, up: u32, bias: u32, residual: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> x: array<vec4<XT>>;
@group(0) @binding(1) var<storage, read> w: array<WT>;
@group(0) @binding(2) var<storage, read> b: array<BT>;
@group(0) @binding(3) var<storage, read> r: array<RT>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
// Output pixels and channels that a workgroup makes: SUBGROUPS * TILES_M and SUBGROUPS * TILES_N tiles.
override SPAN_M = 128u;
override SPAN_N = 128u;
const LANES = 32u;
const TM = 16u;
const TN = 16u;
const TK = 16u;
const TILES_M = 4u;
const TILES_N = 4u;
const SUBGROUPS = 2u;
const WG = SUBGROUPS * SUBGROUPS * LANES;
// vec4s of a pixel, of all pixels, and at most of an invocation, that one step gathers.
const QUADS = TK / 4u;
const GATHERED = SUBGROUPS * TILES_M * TM * QUADS;
const LOADS = (GATHERED + WG - 1u) / WG;
// Two halves of pixels in rows of TK channels.
var<workgroup> pixels: array<f16, 2u * 4u * GATHERED>;
var<workgroup> tiles: array<f32, SUBGROUPS * SUBGROUPS * TM * TN>;

fn gathered_tile(at: u32) -> Left { return subgroupMatrixLoad<Left, row_major>(&pixels, at, TK); }

// Picture, row and column of output pixel q.
fn place(q: u32) -> vec3u { return vec3u(q / (p.OW * p.OH), q / p.OW % p.OH, q % p.OW); }

// The first vec4 of the input pixel under a tap, or -1.
fn source(at: vec3u, tap: vec2u) -> i32 {
  let s = at.yz * p.stride + tap - p.pad;
  // Left of the picture s wraps around and is past its end.
  if (s.x >= p.H || s.y >= p.W) { return -1; }
  return i32(((at.x * p.H + s.x) * p.W + s.y) * (p.I / 4u));
}

@compute @workgroup_size(WG)
fn main(
  @builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) index: u32,
  @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32,
) {
  let count = p.B * p.OH * p.OW;
  let down = subgroup / SUBGROUPS * TILES_M * TM;
  let n0 = group.y * SPAN_N + subgroup % SUBGROUPS * TILES_N * TN;
  let taps = p.KH * p.KW;
  var places: array<vec3u, LOADS>;
  for (var i = 0u; i < LOADS; i++) { places[i] = place(min(group.x * SPAN_M + (index + i * WG) / QUADS, count - 1u)); }
  var sums: array<Sums, TILES_M * TILES_N>;
  var half = 0u;
  for (var tap = 0u; tap < taps; tap++) {
    var sources: array<i32, LOADS>;
    for (var i = 0u; i < LOADS; i++) { sources[i] = source(places[i], vec2u(tap / p.KW, tap % p.KW)); }
    for (var k = 0u; k < p.I; k += TK) {
      for (var i = 0u; i < LOADS; i++) {
        let e = index + i * WG;
        if (e >= GATHERED) { break; }
        var quad = vec4<XT>();
        if (sources[i] >= 0) { quad = x[u32(sources[i]) + k / 4u + e % QUADS]; }
        for (var c = 0u; c < 4u; c++) { pixels[half + 4u * e + c] = quad[c]; }
      }
      workgroupBarrier();
      var left: array<Left, TILES_M>;
      for (var i = 0u; i < TILES_M; i++) { left[i] = gathered_tile(half + (down + i * TM) * TK); }
      for (var j = 0u; j < TILES_N; j++) {
        let right = right_columns(&w, (min(n0 + j * TN, p.O - TN) * taps + tap) * p.I + k, taps * p.I);
        for (var i = 0u; i < TILES_M; i++) { sums[i * TILES_N + j] = multiply_tiles(left[i], right, sums[i * TILES_N + j]); }
      }
      half = 4u * GATHERED - half;
    }
  }
  let at = subgroup * TM * TN;
  for (var i = 0u; i < TILES_M; i++) {
    for (var j = 0u; j < TILES_N; j++) {
      put_sums(sums[i * TILES_N + j], at);
      workgroupBarrier();
      for (var e = lane; e < TM * TN; e += LANES) {
        let q = group.x * SPAN_M + down + i * TM + e / TN;
        let n = n0 + j * TN + e % TN;
        // Pixels and channels past the end were made of the last ones, and are left out.
        if (q < count && n < p.O) {
          var sum = tiles[at + e];
          if (p.bias == 1u) { sum += f32(b[n]); }
          if (p.residual == 1u) { sum += f32(r[q * p.O + n]); }
          if (p.acc == 1u) { sum += y[q * p.O + n]; }
          y[q * p.O + n] = sum;
        }
      }
      workgroupBarrier();
    }
  }
}
