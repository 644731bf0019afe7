import { checkCallFault } from './check-arguments.js';
import type { CallChoice, CallFault } from './http2-faults.js';

interface Rule {
  readonly fault: CallFault;
  readonly method: string | undefined;
  /** Calls it will still hit. */
  times: number;
}

/** Faults that wait for their calls. Of several that a call matches, the one that was set first takes it. */
export class CallFaults {
  #rules: Rule[] = [];

  /**
   * Gives what takes it back, as far as it still waits.
   * @throws RangeError when an argument cannot be
   */
  add(fault: CallFault, choice: CallChoice): () => void {
    checkCallFault(fault, choice);
    const { method, times = 1 } = choice;
    const rule = { fault, method, times };
    this.#rules.push(rule);
    return () => {
      this.#drop(rule);
    };
  }

  /** The fault that takes a call of `path`; undefined for none. */
  claim(path: string): CallFault | undefined {
    const rule = this.#rules.find(({ method }) => method === undefined || isMethod(path, method));
    if (rule === undefined) return undefined;
    rule.times -= 1;
    if (rule.times === 0) this.#drop(rule);
    return rule.fault;
  }

  clear(): void {
    this.#rules = [];
  }

  #drop(rule: Rule): void {
    this.#rules = this.#rules.filter((other) => other !== rule);
  }
}

/** `method` is 'Get', 'Orders/Get', 'orders.v1.Orders/Get' or '/orders.v1.Orders/Get', with the method's first letter in any case. */
function isMethod(path: string, method: string): boolean {
  const slash = method.lastIndexOf('/') + 1;
  const wanted = method.slice(0, slash) + method.charAt(slash).toUpperCase() + method.slice(slash + 1);
  return [wanted, `/${wanted}`].includes(path) || path.endsWith(`/${wanted}`) || path.endsWith(`.${wanted}`);
}
