// dtable[v, c] = (acc ? dtable[v, c] : 0) + sum of dy[r, c] over the rows r with ids[r] = first + v, in order of r; nothing for the id skip.
// One subgroup owns PER table rows: it reads four ids a lane and takes the lowest row that meets v until none is left, adding rows of
// dy into its row of the table. Each lane keeps to its own columns, so no barrier is needed. The conditions around subgroup calls come
// from subgroup calls and are the same in all lanes, which the compiler's uniformity check cannot see.
enable subgroups;
diagnostic(off, subgroup_uniformity);
struct Params { rows: u32, C: u32, V: u32, first: u32, skip: u32, acc: u32 }
@group(0) @binding(0) var<storage, read> dy: array<vec4f>;
@group(0) @binding(1) var<storage, read> ids: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> dtable: array<vec4f>;
@group(0) @binding(3) var<uniform> p: Params;
override LANES = 8u;
override PER = 1u;
const none = 0xffffffffu;

fn clear(v: u32, lane: u32) {
  for (var c = lane; c < p.C / 4u; c += LANES) { dtable[v * (p.C / 4u) + c] = vec4f(); }
}

fn add_row(v: u32, r: u32, lane: u32) {
  let n = p.C / 4u;
  for (var c = lane; c < n; c += LANES) { dtable[v * n + c] += dy[r * n + c]; }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let start = group_index(group, groups) * PER;
  let quads = (p.rows + 3u) / 4u;
  for (var v = start; v < min(start + PER, p.V); v++) {
    if (p.acc == 0u) { clear(v, lane); }
    let id = p.first + v;
    if (id == p.skip) { continue; }
    for (var q = 0u; q < quads; q += LANES) {
      let mine = min(q + lane, quads - 1u);
      let at = mine * 4u + vec4u(0, 1, 2, 3);
      var open = (ids[mine] == vec4u(id)) & (at < vec4u(p.rows)) & vec4<bool>(q + lane < quads);
      while (subgroupAny(any(open))) {
        let rows = select(vec4u(none), at, open);
        let r = subgroupMin(min(min(rows.x, rows.y), min(rows.z, rows.w)));
        open &= at != vec4u(r);
        add_row(v, r, lane);
      }
    }
  }
}
