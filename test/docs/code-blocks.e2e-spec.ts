import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync } from 'node:fs';
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
import { followStart } from './follow-start.js';
import { codeBlocks } from './markdown.js';
import { compiled, HELPER, PROGRAMS, RUNNER, writeCodeBlocks } from './code-blocks.js';

const DRIVER = 'test/docs/drive-readme.mjs';
/** Tests that leave something open, or do not, for runners to run beside those of docs/testing.md. */
const LEAKING = 'test/docs/leaking.mjs';

// A core each. A test is stopped after its process is.
vi.setConfig({ maxConcurrency: 2, testTimeout: RUN_LIMIT_MS + 20_000, hookTimeout: 2 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let application: Consumer;
let blocks: readonly string[];

// One compilation of all: an error names the page in its path.
beforeAll(() => {
  packed = packLibrary();
  application = consumerOf(packed, { copied: ['protos', 'src/gen', DRIVER, HELPER, RUNNER] });
  blocks = writeCodeBlocks(application.folder);
  cpSync(join(ROOT, LEAKING), join(application.folder, 'blocks/docs/testing/leaking.test.js'));
  application.compile('tsconfig.json');
  return () => {
    application.remove();
    packed.remove();
  };
});

describe('the code in the README and the docs', () => {
  it('is compiled against the packed package, all of it', () => {
    expect(blocks.length).toBeGreaterThan(10);
  });

  describe.concurrent('each program', () => {
    it.each(PROGRAMS.map((paths) => [paths.map(compiled)]))(
      'runs, holds what it asserts, and leaves nothing open: %s',
      async (programs) => {
        await application.nodeBeside(RUNNER, ...programs);
      },
    );
  });

  it('does what the README says, as an application against a real server', () => {
    const told = JSON.parse(application.node(DRIVER, 'dist/readme')) as unknown;
    expect(told).toEqual({
      order: { status: 200, body: expect.objectContaining({ id: '7', item: 'tea' }) },
      well: {
        live: { status: 200, body: expect.objectContaining({ status: 'ok' }) },
        dependencies: {
          status: 200,
          body: expect.objectContaining({
            details: { orders: expect.objectContaining({ status: 'up', state: 'READY' }) },
          }),
        },
      },
      events: ['1', '2', '3', '4'],
      placed: 'placed as 9',
      refused: 'failed: FAILED_PRECONDITION out of tea',
      cutOff: 'look for r-3 before you send it again (connection-lost)',
      outage: {
        ready: {
          status: 200,
          body: expect.objectContaining({ details: { process: { status: 'up', state: 'ready' } } }),
        },
        dependencies: {
          status: 200,
          body: expect.objectContaining({
            details: { orders: expect.objectContaining({ message: 'outage; calls wait' }) },
          }),
        },
      },
      notPlaced: 'not placed (deadline), try again',
    });
  });

  it('does what docs/index.md says, killed services and all, and writes what that shows', async () => {
    const blocks = codeBlocks('docs/index.md');
    const answers = blocks.filter(({ language }) => language === 'json').map(({ text }) => JSON.parse(text) as unknown);
    const { order, whileRestarted, whileAway, log } = await followStart(application.folder);
    expect([order, whileAway]).toEqual(answers);
    expect(whileRestarted).toEqual(order);
    const shown = blocks.find(({ language }) => language === 'text')!.text;
    const told = log
      .split('\n')
      .filter((line) => /\] outage: |back after/.test(line))
      .slice(0, 2)
      .map((line) => line.replace(/^.*? (?=LOG|WARN)/, ''));
    const anyNumbers = (text: string) => text.replace(/outage: .*?;/, 'outage;').replace(/\d+(\.\d+)?/g, '0');
    expect(told.map(anyNumbers)).toEqual(shown.split('\n').map(anyNumbers));
  });

  // As their users start them: they compile the sources by the configuration that the page shows.
  describe.concurrent('the tests of docs/testing.md', () => {
    it.each([
      [
        'Vitest',
        ['vitest/vitest.mjs', 'run', '--globals', '--reporter=json', '--root', 'blocks/docs/testing', 'shop.spec'],
      ],
      ['Jest', ['jest/bin/jest.js', '--json', '--config', 'blocks/docs/testing/jest.config.js', 'shop.test']],
    ])(
      'pass under %s, which fails those that leave something open, and no other',
      async (_runner, [script, ...args]) => {
        const env = Object.entries(process.env).filter(([name]) => !name.startsWith('VITEST'));
        // Some of them fail, and so does the runner.
        const { stdout } = await promisify(execFile)(
          process.execPath,
          [`node_modules/${script!}`, ...args, '--testTimeout=120000', 'leaking'],
          {
            cwd: application.folder,
            env: { ...Object.fromEntries(env), NODE_OPTIONS: '--experimental-vm-modules' },
            timeout: RUN_LIMIT_MS,
          },
        ).catch((error: unknown) => error as { readonly stdout: string });
        // True: the report of Jest, which Vitest follows.
        const report = JSON.parse(stdout.slice(stdout.indexOf('{'))) as {
          readonly testResults: readonly { readonly assertionResults: readonly { title: string; status: string }[] }[];
        };
        const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
        const titlesOf = (wanted: string) =>
          results.filter(({ status }) => status === wanted).map(({ title }) => title);
        const leaks = ['leaks a timer', 'leaks another', 'leaks a server'];
        expect(titlesOf('failed')).toEqual([...leaks, ...leaks, 'leaks what its hooks open']);
        expect(titlesOf('passed')).toHaveLength(1 + 6);
      },
    );
  });

  it.each([
    [
      'main',
      '[ResilientGrpc:orders] orders:50051 | orders.v1.Orders | safe to repeat: Get, Watch',
      /\[ResilientGrpc\] drained 1 client in \d+ ms/,
    ],
    ['orders-service', '[NestMicroservice]', /\[ResilientGrpcServer\] drained in \d+ ms: 0 calls finished/],
  ])('ends as the README says when it is asked to: %s', async (program, started, drained) => {
    const main = spawn(process.execPath, [compiled(`blocks/readme/${program}`)], {
      cwd: application.folder,
      env: { ...process.env, PORT: '0', GRPC_URL: '127.0.0.1:0', NODE_ENV: 'production', NO_COLOR: '1' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    main.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      if (text.includes('successfully started')) main.kill('SIGTERM');
    });
    const [code, signal] = (await once(main, 'close')) as [number | null, string | null];
    expect({ code, signal }).toEqual({ code: null, signal: 'SIGTERM' });
    expect(output).toContain(started);
    expect(output).toMatch(drained);
  });
});

describe('the package', () => {
  it('has the README of the repository, so that npm shows it', () => {
    expect(packed.files).toContain('README.md');
  });
});
