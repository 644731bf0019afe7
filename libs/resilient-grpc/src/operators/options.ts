import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { Problems } from '../policy/service-config/problem.js';

/** Reads the options of an operator. @throws {GrpcConfigurationError} with every problem found. */
export function readOptions<T>(read: (problems: Problems) => T): T {
  const problems = new Problems();
  const options = read(problems);
  if (!problems.none) throw new GrpcConfigurationError(problems.list);
  return options;
}

/** Reads a duration in milliseconds: a number above 0, or Infinity. Returns NaN and adds a problem for any other value. */
export function readLength(value: unknown, path: string, problems: Problems): number {
  if (typeof value === 'number' && value > 0) return value;
  problems.add(path, 'a number of milliseconds greater than 0', value);
  return NaN;
}
