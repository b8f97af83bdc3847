// Every kernel, variant, element type and case against its f64 reference. Rerun one with: npm test -- rmsnorm:rows=3,C=100
import { test } from "uvu";
import * as assert from "uvu/assert";
import { caseName, runCase, typings, variantsFor } from "../bench/checks.ts";
import { findChecks } from "../bench/find.ts";
import { nodeHost } from "../engine/host_node.ts";
import { openDevice } from "../engine/node.ts";

const [only = "", wanted = ""] = (process.env.WORLDLINE_TEST_FILTER ?? process.argv[2] ?? "").split(":");
const device = await openDevice();
const checks = await findChecks(only);

/** Variants that ran, by kernel: a kernel may have several checks. */
const ran = new Map<string, Set<string>>();

for (const { name, check } of checks) {
  const seen = ran.get(name) ?? new Set<string>();
  ran.set(name, seen);
  test(name, async () => {
    for (const c of check.cases) {
      if (wanted && caseName(c) !== wanted) continue;
      for (const dtypes of typings(device, check)) {
        for (const variant of variantsFor(device, check, c, dtypes)) {
          seen.add(variant.name);
          try {
            await runCase(device, check, c, dtypes, variant);
          } catch (cause) {
            const types = Object.values(dtypes).some((d) => d !== "f32" && d !== "u32") ? ` ${JSON.stringify(dtypes)}` : "";
            throw new Error(`${name}:${variant.name}${types}: ${(cause as Error).message}\n    rerun: npm test -- ${name}:${caseName(c)}`);
          }
        }
      }
    }
  });
}

/** Assignments to a component of a vector in memory that other invocations share: where memory is written by whole vectors (Metal), neighbours' components are lost. */
function componentWrites(text: string): string[] {
  const out: string[] = [];
  for (const [, name, type] of text.matchAll(/var<(?:workgroup|storage, read_write)> (\w+): ([^;]+);/g)) {
    if (!/vec[234]/.test(type)) continue;
    const depth = type.split("array<").length - 1;
    for (const [line, indices, parts] of text.matchAll(new RegExp(`\\b${name}((?:\\[[^\\]]*\\])*)((?:\\.\\w+)?) *[-+*/|&^]?=[^=]`, "g")))
      if (indices.split("[").length - 1 > depth || parts) out.push(line);
  }
  return out;
}

test("no shader writes a part of a vector in shared memory", async () => {
  assert.equal(
    componentWrites(
      "var<workgroup> p: array<array<vec4f, 17>, 16>;\n p[a.y][b / 4u][b % 4u] = x; p[a][b] = y; if (p[a][b].x == 1) { p[a][b].y += 2; }",
    ).length,
    2,
  );
  for (const { check } of checks)
    for (const { name, source } of check.kernel.variants)
      assert.equal(componentWrites(await nodeHost.readText(source)), [], `${check.kernel.name}:${name}`);
});

test.after(() => {
  const kernels = new Map(checks.map(({ name, check }) => [name, check.kernel]));
  for (const [name, { variants }] of kernels)
    for (const v of variants) if (!wanted && !ran.get(name)!.has(v.name)) console.log(`skipped on this adapter: ${name}:${v.name}`);
});

test.run();
