import { execFile } from 'node:child_process';
import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import {
  ROOT,
  RUN_LIMIT_MS,
  consumerOf,
  packLibrary,
  type Consumer,
  type PackedLibrary,
} from '../consumers/packed-library.js';
import { followReadme } from './follow-readme.js';
import { writeCodeBlocks } from './code-blocks.js';

/** Path of a test file in which some tests leak. */
const LEAKING = 'test/docs/leaking.mjs';

// Two tests run at a time. The test timeout exceeds that of a process, so that a hanging process is stopped before its test times out.
vi.setConfig({ maxConcurrency: 2, testTimeout: RUN_LIMIT_MS + 20_000, hookTimeout: 2 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let application: Consumer;
let blocks: readonly string[];

// Everything is compiled at once. The path in an error identifies the page.
beforeAll(() => {
  packed = packLibrary();
  application = consumerOf(packed, { copied: ['protos', 'src/gen'] });
  blocks = writeCodeBlocks(application.folder);
  application.compile('tsconfig.json');
  return () => {
    application.remove();
    packed.remove();
  };
});

describe('code in the README and the docs', () => {
  it('compiles the code blocks in the docs against the packed package', () => {
    expect(blocks.length).toBeGreaterThan(10);
  });

  it("answers, and explains failed calls, in a new CommonJS project with Nest's client after the diff of the README", async () => {
    expect(await followReadme(packed)).toEqual({
      order: { id: '7', item: 'tea' },
      refused: { text: 'rejected: out of tea' },
      unavailable: { text: 'look for the order before you send it again' },
      away: { text: 'not placed, try again' },
    });
  });
});

// Each runner is started as a user would start it.
describe.concurrent('failOnLeaks', () => {
  const folder = () => join(application.folder, 'leaking');
  beforeAll(() => {
    cpSync(join(ROOT, LEAKING), join(folder(), 'leaking.test.js'));
    writeFileSync(join(folder(), 'jest.config.js'), 'export default { transform: {} };');
  });

  it.each([
    ['Vitest', ['vitest/vitest.mjs', 'run', '--globals', '--reporter=json', '--root', 'leaking']],
    ['Jest', ['jest/bin/jest.js', '--json', '--config', 'leaking/jest.config.js']],
  ])('fails exactly the tests that leak, with %s', async (_runner, [script, ...args]) => {
    const env = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'));
    // Ignores the exit code: the runner fails, because some tests fail on purpose.
    const { stdout } = await promisify(execFile)(
      process.execPath,
      [`node_modules/${script!}`, ...args, '--testTimeout=120000', 'leaking'],
      {
        cwd: application.folder,
        env: { ...Object.fromEntries(env), NODE_OPTIONS: '--experimental-vm-modules' },
        timeout: RUN_LIMIT_MS,
      },
    ).catch((error: unknown) => error as { readonly stdout: string });
    // The cast is safe because both runners write Jest's report format.
    const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
      readonly testResults: readonly { readonly assertionResults: readonly { title: string; status: string }[] }[];
    };
    const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
    const titlesOf = (wanted: string) => results.filter(({ status }) => status === wanted).map(({ title }) => title);
    const leaks = ['leaks a timer', 'leaks a second timer', 'leaks a server'];
    expect(titlesOf('failed')).toEqual([...leaks, ...leaks, 'leaks a server that the hooks do not close']);
    expect(titlesOf('passed')).toHaveLength(6);
  });
});
