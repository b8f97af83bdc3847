// The judge against a server on this machine that misbehaves: 429, 500, too slow, cut off, no JSON, no completion, wrong scores.
// Run: node --import tsx test/judge.test.ts
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PNG } from "pngjs";
import { test } from "uvu";
import * as assert from "uvu/assert";
import { defaultJudge, Judge, JudgeError, type JudgeOptions, judgeCost, parseVerdict } from "../world/judge.ts";

type Behaviour = (request: IncomingMessage, response: ServerResponse, body: string) => void;

let script: Behaviour[] = [];
const seen: { body: string; headers: IncomingMessage["headers"]; url?: string; at: number }[] = [];
const server = createServer((request, response) => {
  let body = "";
  request.setEncoding("utf8").on("data", (text: string) => {
    body += text;
  });
  request.on("end", () => {
    seen.push({ body, headers: request.headers, url: request.url, at: performance.now() });
    (script.shift() ?? refuse(404))(request, response, body);
  });
});
await new Promise<void>((ready) => server.listen(0, "127.0.0.1", ready));
const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
const folder = mkdtempSync(join(tmpdir(), "worldline-judge-"));

const say =
  (content: string): Behaviour =>
  (_, response) =>
    void response.end(
      JSON.stringify({ choices: [{ message: { role: "assistant", content } }], usage: { prompt_tokens: 900, completion_tokens: 20 } }),
    );
const good = say('{"scores": [7, 4], "reason": "the cup moved, the light changed"}');
const refuse =
  (status: number, headers = {}): Behaviour =>
  (_, response) =>
    void response.writeHead(status, headers).end('{"error": {"message": "not now"}}');
const cut: Behaviour = (_, response) => {
  response.writeHead(200, { "content-length": "500" });
  response.write('{"choices": [{"mess');
  setTimeout(() => response.destroy(), 20);
};
const slow: Behaviour = () => undefined;
const noJson: Behaviour = (_, response) => void response.end("<html>Bad gateway</html>");
const noAnswer: Behaviour = (_, response) => void response.end('{"choices": []}');

const options = (more: Partial<JudgeOptions> = {}): JudgeOptions => ({
  ...defaultJudge,
  url,
  model: "judge-1",
  perMinute: 1e6,
  backoffMs: 5,
  timeoutMs: 30_000,
  ...more,
});
const grey = (value: number, side = 8) => ({ width: side, height: side, data: new Uint8Array(side * side * 3).fill(value) });
const item = { source: grey(10), edited: grey(200), instruction: "move the cup" };
const verdict = { success: 7, minimal: 4, score: 4, reasoning: "the cup moved, the light changed" };

async function ask(behaviours: Behaviour[], more: Partial<JudgeOptions> = {}, what = item) {
  script = behaviours;
  seen.length = 0;
  const judge = new Judge(options(more));
  const result = await judge.judge(what).catch((error: Error) => `${error.name}: ${error.message}`);
  return { result, judge, requests: seen.length };
}

test("a good answer: what is sent, and what is counted", async () => {
  const { result, judge } = await ask([good], { key: "secret" });
  assert.equal(result, verdict);
  assert.equal(judge.used, { requests: 1, cached: 0, inputTokens: 900, outputTokens: 20 });
  const sent = JSON.parse(seen[0].body) as {
    model: string;
    temperature: number;
    messages: { content: { image_url?: { url: string }; text?: string }[] }[];
  };
  assert.equal(
    [seen[0].url, seen[0].headers.authorization, sent.model, sent.temperature],
    ["/v1/chat/completions", "Bearer secret", "judge-1", 0],
  );
  const [source, edited, text] = sent.messages[1].content;
  for (const [part, value] of [[source, 10] as const, [edited, 200] as const]) {
    const [head, base64] = part.image_url!.url.split(",");
    assert.is(head, "data:image/png;base64");
    assert.is(PNG.sync.read(Buffer.from(base64, "base64")).data[0], value, "source first, then the edited picture");
  }
  assert.match(text.text!, /move the cup/);
});

test("faults of the line are tried again with back-off and then succeed", async () => {
  const faults: [string, Behaviour][] = [
    ["429", refuse(429)],
    ["500", refuse(500)],
    ["503", refuse(503)],
    ["cut off", cut],
    ["too slow", slow],
    ["no JSON", noJson],
    ["no answer", noAnswer],
  ];
  for (const [name, fault] of faults) {
    const { result, requests } = await ask([fault, fault, good], fault === slow ? { timeoutMs: 1000 } : {});
    assert.equal(result, verdict, name);
    assert.is(requests, 3, name);
  }
});

test("waits double, Retry-After is kept to, and the number of tries has an end", async () => {
  await ask([refuse(500), refuse(500), refuse(500), good], { backoffMs: 40 });
  const gaps = seen.slice(1).map(({ at }, i) => at - seen[i].at);
  for (const [i, least] of [40, 80, 160].entries()) assert.ok(gaps[i] >= least - 3, `wait ${i} was ${gaps[i]} ms`);
  await ask([refuse(429, { "retry-after": "1" }), good]);
  assert.ok(seen[1].at - seen[0].at >= 990);
  const { result, requests } = await ask(new Array<Behaviour>(9).fill(refuse(429)), { retries: 2 });
  assert.is(requests, 3);
  assert.match(
    String(result),
    /^JudgeError: judge: http:\/\/127\.0\.0\.1:\d+\/v1 answered 429 \(.*not now.*\) after 3 tries; lower the rate or come back later$/,
  );
});

test("a refusal concerns one edit: it is asked once more and then said, as an answer", async () => {
  const refused: Behaviour = (_, response) => void response.end('{"choices": [{"message": {"content": null, "refusal": "I will not"}}]}');
  script = [refused, refused, good];
  seen.length = 0;
  const error = await new Judge(options()).judge(item).catch((e: unknown) => e);
  assert.is(seen.length, 2);
  assert.ok(error instanceof JudgeError && error.answered, String(error));
});

test("what trying again cannot mend is said at once", async () => {
  const unauthorised = await ask([refuse(401)]);
  assert.is(unauthorised.requests, 1);
  assert.match(String(unauthorised.result), /answered 401 .*; set the key \(OPENAI_API_KEY\)/);
  assert.match(String((await ask([refuse(404)])).result), /answered 404 .*check the model's name and the address/);
  const gone = createServer();
  await new Promise<void>((ready) => gone.listen(0, "127.0.0.1", ready));
  const { port } = gone.address() as AddressInfo;
  await new Promise((closed) => gone.close(closed));
  const nobody = await ask([], { url: `http://127.0.0.1:${port}/v1`, retries: 1 });
  assert.match(String(nobody.result), /cannot be reached \(ECONNREFUSED\) after 2 tries; is the server up\?/);
  assert.throws(() => new Judge(options({ url: "localhost" })), /"localhost" is no address; give one such as http:\/\/localhost:8000\/v1/);
});

test("an answer in another form gets one repair, which shows the answer, and no second", async () => {
  const mended = await ask([say("I would say 7 and 4."), good]);
  assert.equal(mended.result, verdict);
  const again = JSON.parse(seen[1].body) as { messages: { role: string; content: string }[] };
  assert.equal(
    again.messages.map((m) => m.role),
    ["system", "user", "assistant", "user"],
  );
  assert.is(again.messages[2].content, "I would say 7 and 4.");
  const twice = await ask([say("7"), say("still 7")]);
  assert.match(String(twice.result), /judge-1 answered twice in another form than asked for: "still 7"/);
});

test("answers are read strictly", () => {
  assert.equal(parseVerdict('```json\n{"scores": [0, 10]}\n```'), { success: 0, minimal: 10, score: 0, reasoning: "" });
  for (const wrong of [
    "",
    "[7, 4]",
    '{"scores": [7]}',
    '{"scores": [7, 4, 1]}',
    '{"scores": [7, 11]}',
    '{"scores": [-1, 4]}',
    '{"scores": [7.5, 4]}',
    '{"scores": ["7", 4]}',
    'Sure! {"scores": [7, 4]}',
    '{"scores": [7, 4]} {"scores": [1, 1]}',
    "{'scores': [7, 4]}",
  ])
    assert.is(parseVerdict(wrong), undefined, wrong);
});

test("the cache answers for the same content only, and survives a damaged file", async () => {
  const cache = join(folder, "cache");
  assert.equal((await ask([good], { cache })).result, verdict);
  const second = await ask([], { cache });
  assert.equal([second.result, second.requests, second.judge.used.cached], [verdict, 0, 1]);
  const other = say('{"scores": [1, 2], "reason": ""}');
  for (const what of [
    { ...item, instruction: "move the mug" },
    { ...item, edited: grey(201) },
    { ...item, source: grey(11) },
  ])
    assert.is((await ask([other], { cache }, what)).requests, 1);
  assert.is((await ask([other], { cache, model: "judge-2" })).requests, 1);
  const files = readdirSync(cache);
  assert.is(files.length, 5);
  for (const file of files) writeFileSync(join(cache, file), '{"success": 7, "min');
  assert.is((await ask([good], { cache })).requests, 1);
  const failed = join(folder, "failed");
  await ask([say("no"), say("no")], { cache: failed });
  assert.equal((await ask([good], { cache: failed })).result, verdict, "a failure is not kept");
});

test("the rate limit spaces requests; large pictures are scaled; an abort ends the waiting", async () => {
  script = [good, good, good];
  seen.length = 0;
  const judge = new Judge(options({ perMinute: 600, side: 32 }));
  const begin = performance.now();
  await Promise.all([1, 2, 3].map((v) => judge.judge({ ...item, edited: grey(v, 100) })));
  // From the beginning on, as the first may arrive late.
  for (const i of [1, 2]) assert.ok(seen[i].at - begin >= 100 * i - 3, `request ${i} of ten a second came after ${seen[i].at - begin} ms`);
  const sent = JSON.parse(seen[0].body) as { messages: { content: { image_url: { url: string } }[] }[] };
  assert.is(PNG.sync.read(Buffer.from(sent.messages[1].content[1].image_url.url.split(",")[1], "base64")).width, 32);
  const stop = new AbortController();
  script = new Array<Behaviour>(9).fill(refuse(500));
  const waiting = new Judge(options({ backoffMs: 60_000 })).judge(item, stop.signal).then(String, (error: Error) => error.message);
  setTimeout(() => stop.abort(new Error("stopped")), 50);
  assert.is(await waiting, "stopped");
});

test("the cost of judging is told from prices", () => {
  const { input, output, dollars } = judgeCost(100, 512, { input: 2.5, output: 10 });
  assert.ok(input > 100 * 510 && input < 100 * 1200 && output === 8000);
  assert.ok(Math.abs(dollars - (input * 2.5 + output * 10) / 1e6) < 1e-12);
});

test.after(() => {
  server.close();
  server.closeAllConnections();
  rmSync(folder, { recursive: true, force: true });
});
test.run();
