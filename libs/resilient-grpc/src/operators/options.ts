import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';

/**
 * Checks the options of an operator. `messages` maps each path to its message, or to `undefined` if the value is valid.
 * @throws {GrpcConfigurationError} if any value is invalid.
 */
export function checkOptions(messages: Readonly<Record<string, string | undefined>>): void {
  const problems = Object.entries(messages).flatMap(([path, message]) =>
    message === undefined ? [] : [{ path, message }],
  );
  if (problems.length > 0) throw new GrpcConfigurationError(problems);
}
