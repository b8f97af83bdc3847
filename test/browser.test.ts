// The engine in headless Chromium: kernels agree with their f64 references there too, and a small model trains to the same losses as in Node.
// Without a Chromium, or without WebGPU in it, it says so and skips. The whole check suite there: npm run browser
import { test } from "uvu";
import * as assert from "uvu/assert";
import { openDevice } from "../engine/node.ts";
import { checkFiles, openPage } from "./browser.ts";
import { train } from "./browser_page.ts";

const page = await openPage();
test.after(() => page.close());

if (page.missing) console.log(`skipped: the engine in a browser (${page.missing})`);
else {
  test("matmul, softmax and attention agree with their f64 references in the page", async () => {
    for (const name of ["matmul", "softmax", "attention"]) {
      const files = await checkFiles(name);
      assert.ok(files.length > 0, name);
      const { passed, failures } = await page.check({ files, cases: 3 });
      assert.equal(failures, [], name);
      assert.ok(passed >= 3, `${name}: ${passed} runs`);
    }
  });

  test("a wrong result in the page is told with its case", async () => {
    const { failures } = await page.check({ files: await checkFiles("softmax"), cases: 1, scale: 1.01 });
    assert.match(failures[0], /^softmax:\w+: error \S+ is over the limit/);
  });

  test("six training steps in the page have the losses of Node", async () => {
    const here = await train(await openDevice());
    const there = await page.call<number[]>("/test/browser_page.ts", "train");
    assert.ok(here.at(-1)! < 0.8 * here[0], `${here}`);
    here.forEach((loss, i) => void assert.ok(Math.abs(there[i] / loss - 1) < 1e-4, `step ${i + 1}: ${there[i]} there, ${loss} here`));
  });
}

test("without a browser the reason is a sentence", async () => {
  assert.is((await openPage("")).missing, "no Chromium was found; name one in CHROMIUM_PATH");
});

test.run();
