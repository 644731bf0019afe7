import { DefaultReporter, type TestModule, type TestRunEndReason, type SerializedError } from 'vitest/node';
import { missingPrograms } from './programs.js';

/** Vitest's default reporter, plus a final line about skipped tests and missing programs. */
export class FileReporter extends DefaultReporter {
  override onTestRunEnd(
    modules: readonly TestModule[],
    errors: readonly SerializedError[],
    reason: TestRunEndReason,
  ): void {
    super.onTestRunEnd(modules, errors, reason);
    const line = skippedLine(modules, missingPrograms());
    if (line !== undefined) this.log(line);
  }
}

/** Returns the final line; `undefined` if every test ran and every optional program is installed. */
function skippedLine(modules: readonly TestModule[], missing: readonly string[]): string | undefined {
  const skipped = modules.flatMap(({ children }) => [...children.allTests('skipped')]).length;
  if (skipped === 0 && missing.length === 0) return undefined;
  const suffix = missing.length === 0 ? '' : `; not available: ${missing.join(', ')}`;
  return `Skipped: ${skipped} ${skipped === 1 ? 'test' : 'tests'}${suffix}`;
}
