/** One thing that is wrong in a configuration. */
export interface ConfigurationProblem {
  /** Where: `clients.orders.methods["Get"].timeoutMs`. */
  readonly path: string;
  /** What was expected, what was found, and what to write instead. */
  readonly message: string;
}

const BRAND = Symbol.for('nestjs-resilient-grpc.GrpcConfigurationError');

/** A configuration that cannot be used. Holds every problem that was found, not the first one. */
export class GrpcConfigurationError extends Error {
  override readonly name = 'GrpcConfigurationError';
  /** Not enumerable: they are in the message, and Node would print them once more behind the stack. */
  declare readonly problems: readonly ConfigurationProblem[];

  constructor(problems: readonly ConfigurationProblem[]) {
    super(summary(problems));
    Object.defineProperty(this, 'problems', { value: Object.freeze([...problems]) });
    Object.defineProperty(this, BRAND, { value: true });
  }
}

/** Whether `error` is a GrpcConfigurationError, also one of another copy of this package. */
export function isGrpcConfigurationError(error: unknown): error is GrpcConfigurationError {
  return error instanceof Error && BRAND in error;
}

/** Problems that the message lists. `problems` has all of them. */
const MAX_SHOWN = 50;

function summary(problems: readonly ConfigurationProblem[]): string {
  const [only] = problems;
  if (only !== undefined && problems.length === 1) return `${only.path}: ${only.message}`;
  const shown = problems.slice(0, MAX_SHOWN).map(({ path, message }) => `\n  - ${path}: ${message}`);
  const more = problems.length > MAX_SHOWN ? `\n  and ${String(problems.length - MAX_SHOWN)} more` : '';
  return `${String(problems.length)} problems in the configuration of gRPC:${shown.join('')}${more}`;
}
