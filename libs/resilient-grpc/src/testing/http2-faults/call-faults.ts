import { checkCallFault } from './check-arguments.js';
import type { CallFilter, CallFault } from './http2-faults.js';

interface Rule {
  readonly fault: CallFault;
  readonly method: string | undefined;
  /** Number of further calls that the rule affects. */
  times: number;
}

/** The pending call faults. If several match a call, the one added first applies. */
export class CallFaults {
  private rules: Rule[] = [];

  /**
   * Adds a fault. Returns a function that removes the fault, so that it affects no further calls.
   * @throws GrpcConfigurationError if an argument is invalid
   */
  add(fault: CallFault, filter: CallFilter): () => void {
    checkCallFault(fault, filter);
    const { method, times = 1 } = filter;
    const rule = { fault, method, times };
    this.rules.push(rule);
    return () => {
      this.drop(rule);
    };
  }

  /** Returns the fault to apply to a call to `path`; `undefined` if no fault matches. Counts the call against the fault's `times`. */
  claim(path: string): CallFault | undefined {
    const rule = this.rules.find(({ method }) => method === undefined || isMethod(path, method));
    if (rule === undefined) return undefined;
    rule.times -= 1;
    if (rule.times === 0) this.drop(rule);
    return rule.fault;
  }

  clear(): void {
    this.rules = [];
  }

  private drop(rule: Rule): void {
    this.rules = this.rules.filter((other) => other !== rule);
  }
}

/**
 * True if `path` matches `method`, which is 'Get', 'Orders/Get', 'orders.v1.Orders/Get', or '/orders.v1.Orders/Get', with the method's
 * first letter in either case.
 */
function isMethod(path: string, method: string): boolean {
  const name = withUpperFirst(method);
  const called = withUpperFirst(path);
  return [name, `/${name}`].includes(called) || called.endsWith(`/${name}`) || called.endsWith(`.${name}`);
}

/** Returns `path` with the first letter of its method in upper case. */
function withUpperFirst(path: string): string {
  const start = path.lastIndexOf('/') + 1;
  return path.slice(0, start) + path.charAt(start).toUpperCase() + path.slice(start + 1);
}
