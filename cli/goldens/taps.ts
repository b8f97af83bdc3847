// Finds activations inside a recorded model by the weights that made them, so that models need no hooks for being checked.
import type { Launch, Tape } from "../../engine/tape.ts";
import type { Tensor } from "../../engine/tensor.ts";

export class Taps {
  private readonly tape: Tape;

  constructor(tape: Tape) {
    this.tape = tape;
  }

  private found(what: string, fits: (launch: Launch) => boolean, last = false): Launch {
    const launch = last ? this.tape.launches.findLast(fits) : this.tape.launches.find(fits);
    if (!launch) throw new Error(`no launch was recorded that ${what}`);
    return launch;
  }

  private keep(launch: Launch, output = 0): Tensor {
    return this.tape.keep(launch.tensors[launch.choice.kernel.reads.length + output]);
  }

  /** The first result made by reading `source`: of kernel `name` if given, its `output`-th result. */
  of(source: Tensor, name?: string, output = 0): Tensor {
    const reads = (l: Launch) => l.tensors.slice(0, l.choice.kernel.reads.length).some((t) => t.root === source.root);
    const fits = (l: Launch) => reads(l) && (name === undefined || l.choice.kernel.name === name);
    return this.keep(this.found(`reads ${source.name}`, fits), output);
  }

  /** The last result made within a scope. */
  last(scope: string): Tensor {
    return this.keep(this.found(`is in ${scope}`, (l) => l.scope === scope || l.scope.startsWith(`${scope}.`), true));
  }
}
