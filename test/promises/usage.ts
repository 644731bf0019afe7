import { parseArgs, type ParseArgsConfig } from 'node:util';

/** Parses the command line. If an option is invalid, prints the reason and `usage`, and ends the process with status 2. */
export function parseOptions<T extends NonNullable<ParseArgsConfig['options']>>(options: T, usage: string) {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return exitWithUsage(error instanceof Error ? error.message : String(error), usage);
  }
}

/** Prints `problem` and `usage` without a stack trace, and ends the process with status 2. */
export function exitWithUsage(problem: string, usage: string): never {
  console.error(`${problem}\n${usage}`);
  process.exit(2);
}
