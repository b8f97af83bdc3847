// Gives the core back while Node waits for the GPU. dawn.node re-queues its event pump through the global `setImmediate`, looked up at each
// call, so a wait spins a whole core, which a software adapter needs itself. The pump's first callback of a wait, which hands the work over, runs
// as before. Then the thread sleeps for seven eighths of the shortest of the last eight waits, of which it can be sure (1 ms at a time, timers
// above that, so that nothing else is held up; never for more than 14 ms), and from there on before each callback for a sixteenth of the time
// since (at least 0.05 ms), which is how much later than by spinning the end is seen; from 1 ms of sleep on 1 ms timers do. Where no wait is
// known or they are short, the first 0.1 ms spin. Every other caller of setImmediate passes through untouched. WORLDLINE_NO_CALM=1 switches it off.

const QUICK_MS = 0.1;
const SHORTEST_NAP_MS = 0.05;
const NAP_SHARE = 1 / 16;
const SLOW_MS = 1;
const REMEMBERED = 8;
const SURE_SHARE = 7 / 8;
const LONGEST_SURE_MS = 14;
const never = new Int32Array(new SharedArrayBuffer(4));

/** Sleeps: nobody ever wakes this word. A timer would take 1 ms at least. */
const sleep = (ms: number) => void Atomics.wait(never, 0, 0, ms);
const MARK = Symbol.for("worldline.calm");

type Callback = (...args: unknown[]) => void;
type SetImmediate = typeof setImmediate;

/**
 * True for functions made by native add-ons without a name, as the pump's are. Bound functions and promise resolvers print the same text:
 * the first are named "bound ...", the second take one argument.
 */
export function isPump(callback: unknown, args: unknown[]): boolean {
  return (
    typeof callback === "function" &&
    args.length === 0 &&
    callback.length === 0 &&
    callback.name === "" &&
    Function.prototype.toString.call(callback) === "function () { [native code] }"
  );
}

/** Wraps a setImmediate so that the pump's callbacks are slowed during a wait, as said above. `now`, `later` and `nap` are for tests. */
export function calmed(
  original: SetImmediate,
  now: () => number = () => performance.now(),
  later: (run: () => void, ms: number) => unknown = setTimeout,
  nap: (ms: number) => void = sleep,
): SetImmediate {
  let began = -1; // when the wait began; -1 outside one
  let requeued = false;
  let sure = 0; // how long this wait will last at least, by those before it
  const waits: number[] = [];
  const ended = () => {
    waits.push(now() - began);
    if (waits.length > REMEMBERED) waits.shift();
    sure = waits.length < REMEMBERED ? 0 : Math.min(LONGEST_SURE_MS, SURE_SHARE * Math.min(...waits));
    began = -1;
  };
  const wrapper = function (this: unknown, callback: Callback, ...args: unknown[]): unknown {
    if (!isPump(callback, args)) return Reflect.apply(original, this, [callback, ...args]);
    requeued = true;
    const first = began < 0;
    if (first) began = now();
    const pump = () => {
      requeued = false;
      try {
        callback();
      } finally {
        if (!requeued) ended();
      }
    };
    if (first) return original(pump);
    const waited = now() - began;
    const ahead = sure - waited;
    const share = -ahead * NAP_SHARE;
    if (ahead >= 2 * SLOW_MS) return later(pump, Math.floor(ahead - SLOW_MS));
    if (share >= SLOW_MS) return later(pump, SLOW_MS);
    if (ahead >= SHORTEST_NAP_MS) nap(Math.min(ahead, SLOW_MS));
    else if (waited >= QUICK_MS) nap(Math.max(SHORTEST_NAP_MS, share));
    return original(pump);
  };
  Object.defineProperties(wrapper, Object.getOwnPropertyDescriptors(original));
  Object.defineProperty(wrapper, MARK, { value: true });
  return wrapper as unknown as SetImmediate;
}

/** Replaces the global setImmediate once per process. */
export function calmPolling(): void {
  if (process.env.WORLDLINE_NO_CALM === "1" || MARK in globalThis.setImmediate) return;
  globalThis.setImmediate = calmed(globalThis.setImmediate);
}
