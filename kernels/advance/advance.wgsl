// For each row r, after id[r] was chosen: history[step, r] = (id, bits of its log-probability); current = id in every copy of the row, positions
// one further; since = ids after the last begin-of-image (boi); room = ids that still fit; done = 1 once an id whose bit is set in the stop words was chosen.
// The next mask is rules[8] for a row that is done, else rules[i] with bits of i: 1 inside a picture (since < picture), 2 a picture's codes are
// complete (since = picture), 4 no room for another picture (room <= picture + 1). seen gets the id's bit. One invocation per row.
struct Params { R: u32, copies: u32, stride: u32, step: u32, picture: u32, boi: u32, seenWords: u32 }
@group(0) @binding(0) var<storage, read> id: array<u32>;
@group(0) @binding(1) var<storage, read> logprob: array<f32>;
@group(0) @binding(2) var<storage, read> rules: array<u32>;
@group(0) @binding(3) var<storage, read_write> rows: array<u32>;
@group(0) @binding(4) var<storage, read_write> seen: array<u32>;
@group(0) @binding(5) var<storage, read_write> history: array<u32>;
@group(0) @binding(6) var<uniform> p: Params;
override WG = 64u;
const CURRENT = 0u; const POSITIONS = 1u; const MODE = 2u; const SINCE = 3u; const ROOM = 4u; const DONE = 5u;
const STOPS = 9u;

@compute @workgroup_size(WG)
fn main(@builtin(global_invocation_id) at: vec3u) {
  let r = at.x;
  if (r >= p.R) { return; }
  let chosen = id[r];
  history[2u * (p.step * p.R + r)] = chosen;
  history[2u * (p.step * p.R + r) + 1u] = bitcast<u32>(logprob[r]);
  for (var copy = 0u; copy < p.copies; copy++) {
    rows[CURRENT * p.stride + copy * p.R + r] = chosen;
    rows[POSITIONS * p.stride + copy * p.R + r] += 1u;
  }
  if (p.seenWords > 0u) { seen[r * p.seenWords + chosen / 32u] |= 1u << (chosen % 32u); }
  let before = rows[SINCE * p.stride + r];
  let since = select(before + u32(before < 0xffffffffu), 0u, chosen == p.boi);
  let left = rows[ROOM * p.stride + r];
  let room = left - u32(left > 0u);
  let stops = (rules[STOPS + chosen / 32u] >> (chosen % 32u)) & 1u;
  let done = rows[DONE * p.stride + r] | stops;
  let state = u32(since < p.picture) + 2u * u32(since == p.picture) + 4u * u32(room <= p.picture + 1u);
  rows[SINCE * p.stride + r] = since;
  rows[ROOM * p.stride + r] = room;
  rows[DONE * p.stride + r] = done;
  rows[MODE * p.stride + r] = rules[select(state, 8u, done == 1u)];
}
