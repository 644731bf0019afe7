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
import { followReadme } from './follow-readme.js';
import { followStart } from './follow-start.js';
import { codeBlocks } from './markdown.js';
import { compiled, HELPER, PROGRAMS, RUNNER, writeCodeBlocks } from './code-blocks.js';

const DRIVER = 'test/docs/drive-readme.mjs';
/** Path of a test file in which some tests leak. The runners run it together with the tests of docs/testing.md. */
const LEAKING = 'test/docs/leaking.mjs';

// Two tests run at a time. The test timeout exceeds that of a process, so that a hanging process is stopped before its test times out.
vi.setConfig({ maxConcurrency: 2, testTimeout: RUN_LIMIT_MS + 20_000, hookTimeout: 2 * RUN_LIMIT_MS });

let packed: PackedLibrary;
let application: Consumer;
let blocks: readonly string[];

// Everything is compiled at once. The path in an error identifies the page.
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

describe('code in the README and the docs', () => {
  it('compiles the code blocks in the docs against the packed package', () => {
    expect(blocks.length).toBeGreaterThan(10);
  });

  describe.concurrent('programs', () => {
    it.each(PROGRAMS.map((paths) => [paths.map(compiled)]))(
      'runs the programs in the docs with passing assertions and no open resources: %s',
      async (programs) => {
        await application.nodeAsync(RUNNER, ...programs);
      },
    );
  });

  it('runs the modules of the README and the tour with a real server as the pages describe', () => {
    const output = JSON.parse(application.node(DRIVER, 'dist/readme')) as unknown;
    expect(output).toEqual({
      order: { status: 200, body: expect.objectContaining({ id: '7', item: 'tea' }) },
      health: {
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
      refused: 'rejected: FAILED_PRECONDITION out of tea',
      cutOff: 'look for r-3 before you send it again (UNAVAILABLE, connection-lost)',
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

  it('returns 200 with a gRPC server and 503 without one in a new CommonJS project that contains the blocks of the README', async () => {
    expect(await followReadme(packed)).toEqual([
      { status: 200, body: { id: '7', item: 'tea' } },
      { status: 503, body: expect.objectContaining({ code: 'UNAVAILABLE' }) },
    ]);
  });

  it('runs the programs of docs/index.md with the described results and logs, even if services are killed', async () => {
    const blocks = codeBlocks('docs/index.md');
    const answers = blocks.filter(({ language }) => language === 'json').map(({ text }) => JSON.parse(text) as unknown);
    const { order, whileRestarted, whileDown, log } = await followStart(application.folder);
    expect([order, whileDown]).toEqual(answers);
    expect(whileRestarted).toEqual(order);
    const shown = blocks.find(({ language }) => language === 'text')!.text;
    const logged = log
      .split('\n')
      .filter((line) => /\] outage: |reconnected after/.test(line))
      .slice(0, 2)
      .map((line) => line.replace(/^.*? (?=LOG|WARN)/, ''));
    const anyNumbers = (text: string) =>
      text
        // The test connects through a Unix socket, which has another cause and another remedy.
        .replace(/outage: .*?; calls/, 'outage; calls')
        .replace(/doctor \S+$/, 'doctor')
        .replace(/\d+(\.\d+)?/g, '0');
    expect(logged.map(anyNumbers)).toEqual(shown.split('\n').map(anyNumbers));
  });

  // Each runner is started as a user would start it. It compiles the sources with the configuration that the page shows.
  describe.concurrent('tests of docs/testing.md', () => {
    it.each([
      [
        'Vitest',
        ['vitest/vitest.mjs', 'run', '--globals', '--reporter=json', '--root', 'blocks/docs/testing', 'shop.spec'],
      ],
      ['Jest', ['jest/bin/jest.js', '--json', '--config', 'blocks/docs/testing/jest.config.js', 'shop-retries']],
    ])(
      'passes the tests of docs/testing.md with %s, and fails exactly the tests that leak',
      async (_runner, [script, ...args]) => {
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
        const titlesOf = (wanted: string) =>
          results.filter(({ status }) => status === wanted).map(({ title }) => title);
        const leaks = ['leaks a timer', 'leaks a second timer', 'leaks a server'];
        expect(titlesOf('failed')).toEqual([...leaks, ...leaks, 'leaks a server that the hooks do not close']);
        expect(titlesOf('passed')).toHaveLength(1 + 6);
      },
    );
  });

  it.each([
    [
      'main',
      '[ResilientGrpc:orders] localhost:50051 | orders.v1.Orders | safe to repeat: Get, Watch',
      /\[ResilientGrpc\] 1 client drained [\d.]+ m?s after the shutdown started/,
    ],
    [
      'orders-service',
      '[NestMicroservice]',
      /\[ResilientGrpcServer\] server drained [\d.]+ m?s after the shutdown started: 0 calls finished/,
    ],
  ])('shuts down the program %s on SIGTERM as the tour describes', async (program, started, drained) => {
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

describe('package', () => {
  it('includes README.md in the package', () => {
    expect(packed.files).toContain('README.md');
  });
});
