import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { ROOT } from './docs/markdown.js';

type Results = readonly ({ readonly contender: string } & Readonly<Record<string, unknown>>)[];

interface Bench {
  readonly bench: string;
  readonly question: string;
  readonly how: string;
  readonly figures: Readonly<Record<string, string>>;
  readonly results: Results;
}

interface Report {
  readonly machine: {
    readonly date: string;
    readonly cores: number;
    readonly versions: Readonly<Record<string, string>>;
  };
  readonly command: string;
  readonly benches: readonly Bench[];
}

/** Columns that distinguish the rows of a contender in a run with the arguments `SMALLEST`. */
const ROWS: Readonly<Record<string, readonly object[]>> = {
  unary: [{ inFlight: 1 }, { inFlight: 2 }],
  stream: [{ size: 65_536 }],
  upload: [{ size: 65_536 }],
  bidi: [{ size: 65_536 }],
  'open-streams': [{}],
  recovery: [{ setup: 'plain' }, { setup: 'tuned' }],
  'first-call': [{}],
};

/** Arguments for the smallest run: only the baseline. */
const SMALLEST =
  '--only grpc-js --rounds 1 --seconds 0.01 --in-flight 1,2 --size 65536 --streams 10 --restarts 1 --json';

const run = promisify(execFile);
const bench = (...args: string[]) => run(process.execPath, ['bench/main.mjs', ...args], { cwd: ROOT });

// The timeouts are long because some tests run processes of many contenders.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 600_000 });

let startedAt: number;
let printed: string;
let report: Report;
let unaryResults: Results;
beforeAll(async () => {
  startedAt = Date.now();
  const [all, unary] = await Promise.all([
    run('npm', ['run', '--silent', 'bench', '--', ...SMALLEST.split(' ')], { cwd: ROOT }),
    bench('unary', ...'--rounds 1 --seconds 0.01 --in-flight 1 --json'.split(' ')),
  ]);
  printed = all.stdout;
  report = JSON.parse(printed) as Report;
  unaryResults = (JSON.parse(unary.stdout) as Report).benches[0]!.results;
});

describe('npm run bench', () => {
  it('prints the results as exactly one JSON object on one line', () => {
    expect(printed).toMatch(/^\{[^\n]+\}\n$/);
  });

  it('reports the question and the method of each benchmark, the machine, and the command', () => {
    expect(report.benches.map(({ bench }) => bench)).toEqual(Object.keys(ROWS));
    for (const { question, how } of report.benches) {
      expect(question).toMatch(/^[A-Z].*\?$/);
      expect(how).not.toBe('');
    }
    const { date, cores, versions } = report.machine;
    expect(Date.parse(date)).toBeGreaterThanOrEqual(startedAt);
    expect(Date.parse(date)).toBeLessThanOrEqual(Date.now());
    expect(cores).toBeGreaterThan(0);
    expect(versions['@grpc/grpc-js']).toMatch(/^1\./);
    expect(report.command).toBe(`npm run bench -- ${SMALLEST}`);
  });

  it.each(Object.keys(ROWS))('reports every row of the benchmark %s with numeric figures', (name) => {
    const { results, figures } = report.benches.find(({ bench }) => bench === name)!;
    const found = results.map(({ contender, inFlight, size, setup }) => ({
      contender,
      ...JSON.parse(JSON.stringify({ inFlight, size, setup })),
    }));
    expect(found).toEqual(ROWS[name]!.map((row) => ({ contender: 'grpc-js', ...row })));
    for (const row of results)
      for (const figure of Object.keys(figures))
        expect([figure, row[figure]]).toEqual([
          figure,
          figure.endsWith('Spread') ? expect.any(String) : expect.any(Number),
        ]);
  });

  it('measures every contender relative to grpc-js', () => {
    expect(unaryResults.map(({ contender }) => contender)).toEqual([
      'resilient-grpc',
      'resilient-grpc-policies',
      'engine',
      'grpc-js',
      'grpc-js-retries',
      'nest',
      'nice-grpc',
      'connect-node',
      'http2',
    ]);
    for (const { contender, cpuRatio } of unaryResults)
      expect(cpuRatio).toEqual(contender === 'grpc-js' ? 1 : expect.any(Number));
  });

  it('compares the servers in the benchmark server', async () => {
    const { stdout } = await bench('server', ...'--rounds 1 --seconds 0.01 --json'.split(' '));
    const { results } = (JSON.parse(stdout) as Report).benches[0]!;
    expect(results.map(({ contender }) => contender)).toEqual(['resilient-grpc', 'nest', 'grpc-js']);
    for (const { cpuRatio } of results) expect(cpuRatio).toEqual(expect.any(Number));
  });

  it('rejects an unknown benchmark and lists the known ones', async () => {
    const rejected = await bench('unray').catch((error: unknown) => error);
    expect(rejected).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/got unray\nUsage: npm run bench .*unary/s),
    });
  });
});

describe('npm run simulate', () => {
  it('prints the figures of a simulation as one JSON object on one line', async () => {
    const small = 'outage --json --seconds 60 --clients 5 --rate 1'.split(' ');
    const { stdout } = await run(process.execPath, ['bench/simulation/main.mjs', ...small], { cwd: ROOT });
    expect(stdout).toMatch(/^\{[^\n]+\}\n$/);
    expect(JSON.parse(stdout)).toMatchObject({ scenario: 'outage', clients: 5 });
  });
});
