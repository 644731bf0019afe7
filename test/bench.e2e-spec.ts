import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { parsePlan } from '../bench/arguments.mjs';
import { describeMachine } from '../bench/machine.mjs';
import { overallTable } from '../bench/overall.mjs';
import { outlineOf } from '../bench/sections.mjs';
import { ROOT, pageText } from './docs/markdown.js';

type Results = readonly ({ readonly contender: string } & Readonly<Record<string, unknown>>)[];

interface Bench {
  readonly bench: string;
  readonly question: string;
  readonly how: string;
  readonly figures: Readonly<Record<string, string>>;
  readonly results: Results;
}

interface Overall {
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
  'slow-readers': [{ direction: 'responses' }, { direction: 'requests' }],
  recovery: [{ setup: 'plain' }, { setup: 'tuned' }],
  'first-call': [{}],
  package: [{}],
};

/** Arguments for the smallest run: only the baseline and, in `unary`, the contenders with call policies. */
const SMALLEST =
  '--only grpc-js --rounds 1 --seconds 0.01 --in-flight 1,2 --size 65536 --streams 10 --messages 50 --restarts 1 --json';

const run = promisify(execFile);
const bench = (...args: string[]) => run(process.execPath, ['bench/main.mjs', ...args], { cwd: ROOT });

// The timeouts are long because some tests run processes of many contenders.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 600_000 });

let startedAt: number;
let printed: string;
let overall: Overall;
let unaryResults: Results;
beforeAll(async () => {
  startedAt = Date.now();
  const [all, unary] = await Promise.all([
    run('npm', ['run', '--silent', 'bench', '--', ...SMALLEST.split(' ')], { cwd: ROOT }),
    bench('unary', ...'--policies --rounds 1 --seconds 0.01 --in-flight 1 --json'.split(' ')),
  ]);
  printed = all.stdout;
  overall = JSON.parse(printed) as Overall;
  unaryResults = (JSON.parse(unary.stdout) as Bench).results;
});

describe('npm run bench', () => {
  it('prints the results of the overall table as exactly one JSON object on one line', () => {
    expect(printed).toMatch(/^\{[^\n]+\}\n$/);
  });

  it('reports the question and the method of each benchmark, the machine, and the command', () => {
    expect(overall.benches.map(({ bench }) => bench)).toEqual(Object.keys(ROWS));
    for (const { question, how } of overall.benches) {
      expect(question).toMatch(/^[A-Z].*\?$/);
      expect(how).not.toBe('');
    }
    const { date, cores, versions } = overall.machine;
    expect(Date.parse(date)).toBeGreaterThanOrEqual(startedAt);
    expect(Date.parse(date)).toBeLessThanOrEqual(Date.now());
    expect(cores).toBeGreaterThan(0);
    expect(versions['@grpc/grpc-js']).toMatch(/^1\./);
    expect(overall.command).toBe(`npm run bench -- ${SMALLEST}`);
  });

  it.each(Object.keys(ROWS))('reports every row of the benchmark %s with numeric figures', (name) => {
    const { results, figures } = overall.benches.find(({ bench }) => bench === name)!;
    const contenders = ['grpc-js', ...(name === 'unary' ? ['resilient-grpc-policies', 'grpc-js-deadline'] : [])];
    const found = results.map(({ contender, inFlight, size, direction, setup }) => ({
      contender,
      ...JSON.parse(JSON.stringify({ inFlight, size, direction, setup })),
    }));
    const expected = contenders.flatMap((contender) => ROWS[name]!.map((row) => ({ contender, ...row })));
    expect(found).toHaveLength(expected.length);
    expect(found).toEqual(expect.arrayContaining(expected));
    for (const row of results) {
      for (const figure of Object.keys(figures)) {
        // A contender without a peer has no peer ratio.
        if (/^peer/.test(figure)) expect(figure in row).toBe(row.contender === 'resilient-grpc-policies');
        else
          expect([row.contender, figure, [row[figure]].flat().every(Number.isFinite)]).toEqual([
            row.contender,
            figure,
            true,
          ]);
      }
    }
  });

  it('measures every contender relative to grpc-js', () => {
    expect(unaryResults.map(({ contender }) => contender)).toEqual([
      'resilient-grpc',
      'resilient-grpc-policies',
      'grpc-js',
      'grpc-js-retries',
      'grpc-js-deadline',
      'nest',
      'nice-grpc',
      'connect-node',
      'http2',
    ]);
    for (const row of unaryResults) {
      if (row.contender === 'grpc-js') expect(row).toMatchObject({ cpuRatio: 1, throughputRatio: 1 });
      if (row.contender === 'resilient-grpc-policies') expect(row).toMatchObject({ peer: 'grpc-js-deadline' });
    }
  });

  it.each([
    ['telemetry', ['no-module', 'module-no-sdk', 'events-subscriber', 'sdk-metrics']],
    ['server', ['resilient-grpc', 'unprotected', 'nest', 'grpc-js']],
  ])('runs the contenders specific to the benchmark %s', async (name, contenders) => {
    const { stdout } = await bench(name, ...'--rounds 1 --seconds 0.01 --json'.split(' '));
    const { results } = JSON.parse(stdout) as Bench;
    expect(results.map(({ contender }) => contender)).toEqual(contenders);
    for (const { cpuRatio } of results) expect(cpuRatio).toEqual(expect.any(Number));
  });

  it('rejects an unknown benchmark and lists the known ones', async () => {
    const rejected = await bench('unray').catch((error: unknown) => error);
    expect(rejected).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/got unray\nUsage: npm run bench .*unary/s),
    });
  });

  it.each([
    ['recovery', '--size 5', '--restarts'],
    ['first-call', '--seconds 1', '--rounds'],
    ['unary', '--profile http2 --rounds 3', '--seconds'],
    ['', '--profile http2', '--rounds'],
  ])('rejects a benchmark option that does not apply: %s %s', (name, options, applies) => {
    expect(() => parsePlan(`${name} ${options}`.trim().split(' '))).toThrow(
      new RegExp(`^--\\S+ does not apply to .*; supported options: .*${applies}\\b`),
    );
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

describe('benchmark table of docs/performance.md', () => {
  const place = /^<!-- pasted: npm run bench -->\n\n```text\n(.*?)\n```\n\n<!-- end of pasted -->$/ms;

  it('prints a benchmark table of the same form as the one in docs/performance.md if run without arguments', () => {
    const [, table = ''] = place.exec(pageText('docs/performance.md')) ?? [];
    expect(shapeOf(table)).toEqual(shapeOf(tableOf()));
  });

  it.each([
    '--rounds 3',
    '--seconds 0.06',
    '--restarts 12',
    '--streams 10',
    '--messages 50',
    '--only nest',
    '--size 100',
  ])('prints a benchmark table whose form differs from that in docs/performance.md if run with %s', (options) => {
    const { command, ...right } = shapeOf(tableOf());
    const { command: otherCommand, ...other } = shapeOf(tableOf(...options.split(' ')));
    expect([command, otherCommand]).toEqual([
      'npm run bench, which took N minutes',
      `npm run bench -- ${options}, which took N minutes`,
    ]);
    expect(right.titles.length).toBeGreaterThan(50);
    expect(other).not.toEqual(right);
  });
});

/** Returns the table that `npm run bench` prints for the arguments `argv`, with 1 as every figure. */
function tableOf(...argv: string[]): string {
  const overall = parsePlan(argv);
  if (overall.bench !== 'all') throw new Error('expected all benchmarks');
  const sections = overall.plans.map((plan) => {
    const outline = outlineOf(plan);
    const keys = 'workloads' in plan ? plan.workloads.map(({ key }) => key) : ROWS[plan.bench]!;
    const ones = Object.fromEntries(outline.figures.map(({ name }) => [name, 1]));
    const rows = plan.entries.flatMap(({ name }) => keys.map((key) => ({ contender: name, ...key, ...ones })));
    return { ...outline, machine: describeMachine(plan.entries), rows };
  });
  return overallTable(sections, { command: overall.command, minutes: 11 });
}

/** Returns the form of a table without its date, machine, and figures. */
function shapeOf(table: string) {
  const lines = table.split('\n');
  expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z, Node v\d+\.\d+\.\d+, .+, \d+ cores$/);
  expect(lines[1]).toMatch(/nestjs-resilient-grpc \d+\.\d+\.\d+, @grpc\/grpc-js \d/);
  const blank = lines.indexOf('');
  const ruler = lines.findIndex((line) => line.startsWith('---'));
  const [[, titleEnd] = [0, 0], ...columns] = [...lines[ruler]!.matchAll(/-+/g)].map(
    ({ index, 0: { length } }) => [index, index + length] as const,
  );
  return {
    command: lines[2]!.replace(/took \d+ minutes$/, 'took N minutes'),
    hows: lines.slice(3, blank),
    contenders: columns.map((at) =>
      lines
        .slice(blank + 1, ruler)
        .map((line) => line.slice(...at).trim())
        .join(''),
    ),
    titles: lines.slice(ruler + 1).map((line) => {
      if (!line.startsWith(' ')) return line;
      for (const at of columns)
        expect([line, line.slice(...at).trim()]).toEqual([line, expect.stringMatching(/^(-?\d[\d.]*|-)$/)]);
      return line.slice(0, titleEnd).trimEnd();
    }),
  };
}
