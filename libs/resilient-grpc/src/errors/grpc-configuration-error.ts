import { defineLibraryError } from './library-error.js';

export interface ConfigurationProblem {
  /** Path of the option: `clients.orders.methods["Get"].timeoutMs`. */
  readonly path: string;
  /** Expected value, actual value, and remedy. */
  readonly message: string;
}

/** Error thrown if a configuration is invalid. Lists all problems, not only the first one. */
export class GrpcConfigurationError extends Error {
  override readonly name = 'GrpcConfigurationError';
  /** The problems. Not enumerable, because the message lists the first 50, and Node would print them again after the stack. */
  declare readonly problems: readonly ConfigurationProblem[];

  constructor(problems: readonly ConfigurationProblem[]) {
    super(summary(problems));
    Object.defineProperty(this, 'problems', { value: Object.freeze([...problems]) });
  }
}

defineLibraryError(GrpcConfigurationError, 'GrpcConfigurationError');

const MAX_SHOWN = 50;

function summary(problems: readonly ConfigurationProblem[]): string {
  const [only] = problems;
  if (only !== undefined && problems.length === 1) return `${only.path}: ${only.message}`;
  const shown = problems.slice(0, MAX_SHOWN).map(({ path, message }) => `\n  - ${path}: ${message}`);
  const more = problems.length > MAX_SHOWN ? `\n  and ${String(problems.length - MAX_SHOWN)} more` : '';
  return `${String(problems.length)} problems in the gRPC configuration:${shown.join('')}${more}`;
}
