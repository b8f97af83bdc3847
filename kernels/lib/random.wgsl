// pcg4d (Jarzynski and Olano 2020): the same function as engine/rng.ts, so host and device can repeat each other's draws.
fn pcg4d(v: vec4u) -> vec4u {
  var x = v * 1664525u + 1013904223u;
  x.x += x.y * x.w; x.y += x.z * x.x; x.z += x.x * x.y; x.w += x.y * x.z;
  x ^= x >> vec4u(16u);
  x.x += x.y * x.w; x.y += x.z * x.x; x.z += x.x * x.y; x.w += x.y * x.z;
  return x;
}

// Uniform in (0, 1): 23 bits and a half are exact in f32, so it is never 0 or 1 and its logarithm is neither infinite nor 0.
fn uniform01(bits: u32) -> f32 {
  return (f32(bits >> 9u) + 0.5) * (1.0 / 8388608.0);
}

// -log(-log(u)), the Gumbel variate of u. Near 1, where large values come from, log(u) has only absolute precision on a GPU: there a
// series in 1 - u, which is exact, takes its place.
fn gumbel(u: f32) -> f32 {
  let t = 1.0 - u;
  let series = t * (1.0 + t * (1.0 / 2.0 + t * (1.0 / 3.0 + t * (1.0 / 4.0 + t * (1.0 / 5.0 + t * (1.0 / 6.0))))));
  return -log(select(-log(u), series, t < 0.0625));
}
