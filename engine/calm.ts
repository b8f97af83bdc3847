// Gives the core back while Node waits for the GPU. dawn.node re-queues its event pump through the global `setImmediate`, looked up at each
// call, so a wait spins a whole core, which a software adapter needs itself. The pump's callbacks run as before for the first 0.4 ms of a
// wait and then by 1 ms timers. Every other caller of setImmediate passes through untouched. WORLDLINE_NO_CALM=1 switches it off.

const QUICK_MS = 0.4;
const SLOW_MS = 1;
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

/** Wraps a setImmediate so that the pump's callbacks are slowed after 0.4 ms of a wait. `now` and `later` are for tests. */
export function calmed(
  original: SetImmediate,
  now: () => number = () => performance.now(),
  later: (run: () => void, ms: number) => unknown = setTimeout,
): SetImmediate {
  let began = -1; // when the wait began; -1 outside one
  let requeued = false;
  const wrapper = function (this: unknown, callback: Callback, ...args: unknown[]): unknown {
    if (!isPump(callback, args)) return Reflect.apply(original, this, [callback, ...args]);
    requeued = true;
    if (began < 0) began = now();
    const pump = () => {
      requeued = false;
      try {
        callback();
      } finally {
        if (!requeued) began = -1;
      }
    };
    return now() - began < QUICK_MS ? original(pump) : later(pump, SLOW_MS);
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
