// pcg4d (Jarzynski and Olano 2020): the same function as engine/rng.ts, so host and device can repeat each other's draws.
fn pcg4d(v: vec4u) -> vec4u {
  var x = v * 1664525u + 1013904223u;
  x.x += x.y * x.w; x.y += x.z * x.x; x.z += x.x * x.y; x.w += x.y * x.z;
  x ^= x >> vec4u(16u);
  x.x += x.y * x.w; x.y += x.z * x.x; x.z += x.x * x.y; x.w += x.y * x.z;
  return x;
}

// Uniform in (0, 1): never 0, so that its logarithm is finite.
fn uniform01(bits: u32) -> f32 {
  return (f32(bits >> 8u) + 0.5) * (1.0 / 16777216.0);
}
