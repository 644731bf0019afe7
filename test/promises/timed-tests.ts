import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { startVitest, type TestCase } from 'vitest/node';
import { isWithin } from '../support/bound.js';
import { judgeBetween, type JudgedRun } from './watched-run.js';
import type { Sentinel } from './sentinel.js';

const ROOT = join(import.meta.dirname, '../..');

/** Result of a test tagged 'timed', or errors that belong to no single test. */
export interface TimedTest extends JudgedRun {
  /**
   * File and title of the test: 'test/server/shutdown.e2e-spec.ts: … exits immediately after SIGTERM …'. For errors that belong to no
   * single test, the file or 'outside the tests'.
   */
  readonly name: string;
}

/** Paths, relative to the root, of the specs under test/ that record timings, directly or in a file that they import by a relative path. */
export function timedFiles(): readonly string[] {
  const files = readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' })
    .map((file) => join('test', file))
    .filter((file) => file.endsWith('.ts') && !file.includes('node_modules') && !file.startsWith('test/promises/'));
  const texts = new Map(files.map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]));
  const records = (file: string) => /\brecordTiming\(task/.test(texts.get(file) ?? '');
  const imported = (file: string) =>
    [...(texts.get(file) ?? '').matchAll(/from '(\.[^']+)\.js'/g)].map(
      ([, path = '']) => `${join(dirname(file), path)}.ts`,
    );
  return files.filter((file) => file.endsWith('spec.ts') && [file, ...imported(file)].some(records)).sort();
}

/**
 * Runs the tests of `files` that are tagged 'timed', one at a time, and passes the result of each test to `onResult`. Tests that skip
 * themselves are only printed, but count as results. A file without results is reported as an error.
 */
export async function runTimedTests(
  files: readonly string[],
  sentinel: Sentinel,
  onResult: (test: TimedTest) => void,
): Promise<void> {
  let results = Promise.resolve();
  const filesWithResult = new Set<string>();
  const vitest = await startVitest('test', [...files], {
    config: join(ROOT, 'vitest.promises.config.mts'),
    root: ROOT,
    watch: false,
    tagsFilter: ['timed'],
    reporters: [
      {
        onTestCaseResult(test) {
          const result = test.result();
          const file = relative(ROOT, test.module.moduleId);
          // Ignores a test that lacks the tag. Unlike a test that skips itself, it has no note.
          if (result.state === 'skipped' && result.note === undefined) return;
          filesWithResult.add(file);
          if (result.state === 'skipped') {
            console.log(`${file}: ${test.fullName}: skipped, because ${result.note}`);
            return;
          }
          // Judges the tests one after another, because each judgment waits for a sample of the sentinel after the test.
          results = results.then(async () => {
            onResult(await judgeTest(test, sentinel));
          });
        },
      },
    ],
  });
  await results;
  const errors = [
    ...vitest.state.getUnhandledErrors(),
    ...vitest.state
      .getTestModules()
      .flatMap((module) => [module, ...module.children.allSuites()].flatMap((suite) => suite.errors())),
  ].map((error) => String((error as Error).stack ?? error));
  await vitest.close();
  const failure = (name: string, messages: readonly string[]) => {
    onResult({ name, rows: [], errors: messages, seconds: 0, busy: undefined });
  };
  if (errors.length > 0) failure('outside the tests', errors);
  for (const file of files) if (!filesWithResult.has(file)) failure(file, ["no test tagged 'timed' has a result"]);
}

async function judgeTest(test: TestCase, sentinel: Sentinel): Promise<TimedTest> {
  const { startTime = Date.now(), duration = 0 } = test.diagnostic() ?? {};
  const judgments = (test.meta().timings ?? []).map(({ figure, value, bound }) => ({
    ...{ figure, value, bound },
    ...{ timed: true, ok: isWithin(value, bound) },
  }));
  const errors = (test.result().errors ?? []).map(({ stack, message }) => stack ?? message);
  // A timed test must record at least one figure.
  if (judgments.length === 0 && errors.length === 0) errors.push('the test recorded no timing');
  const judged = await judgeBetween(sentinel, startTime, startTime + duration, judgments);
  const name = `${relative(ROOT, test.module.moduleId)}: ${test.fullName}`;
  return { ...judged, name, errors, seconds: duration / 1_000 };
}
