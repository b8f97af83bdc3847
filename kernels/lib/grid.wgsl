// Undoes grid2d of kernel.ts: the linear number of this workgroup.
fn group_index(group: vec3u, groups: vec3u) -> u32 {
  return group.x + group.y * groups.x;
}
