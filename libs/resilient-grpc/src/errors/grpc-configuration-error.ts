import { defineLibraryError } from './library-error.js';

export interface ConfigurationProblem {
  /** Path of the option: `clients.orders.methods["Get"].timeoutMs`. */
  readonly path: string;
  /** Expected value, actual value, and remedy. */
  readonly message: string;
}

export interface UnlistedProblems extends ConfigurationProblem {
  readonly unlisted: number;
}

export function problemCount(problems: readonly (ConfigurationProblem | UnlistedProblems)[]): number {
  return problems.reduce((sum, problem) => sum + ('unlisted' in problem ? problem.unlisted : 1), 0);
}

/** Error thrown if a configuration is invalid. Lists up to 100 problems, not only the first one. */
export class GrpcConfigurationError extends Error {
  override readonly name = 'GrpcConfigurationError';
  /** The problems, up to 100. Not enumerable, because the message lists the first 50, and Node would print them again after the stack. */
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
  const count = problemCount(problems);
  const more = problems.length > MAX_SHOWN ? `\n  and ${String(count - shown.length)} more` : '';
  return `${String(count)} problems in the gRPC configuration:${shown.join('')}${more}`;
}
