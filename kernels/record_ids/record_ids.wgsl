// Keeps what a decode step chose: current[r] = id[r] for the next step, and row `step` of two (steps, R) histories.
struct Params { R: u32, step: u32 }
@group(0) @binding(0) var<storage, read> id: array<u32>;
@group(0) @binding(1) var<storage, read> logprob: array<f32>;
@group(0) @binding(2) var<storage, read_write> current: array<u32>;
@group(0) @binding(3) var<storage, read_write> ids: array<u32>;
@group(0) @binding(4) var<storage, read_write> logprobs: array<f32>;
@group(0) @binding(5) var<uniform> p: Params;
override WG = 64u;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let r = at.x;
  if (r >= p.R) { return; }
  current[r] = id[r];
  ids[p.step * p.R + r] = id[r];
  logprobs[p.step * p.R + r] = logprob[r];
}
