import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, expect, it } from 'vitest';
import { ROOT, codeBlocks } from './docs/markdown.js';

interface Bench {
  readonly bench: string;
  readonly question: string;
  readonly how: string;
  readonly figures: Readonly<Record<string, string>>;
  readonly results: readonly ({ readonly contender: string } & Readonly<Record<string, unknown>>)[];
}

interface Overall {
  readonly machine: {
    readonly date: string;
    readonly cores: number;
    readonly versions: Readonly<Record<string, string>>;
  };
  readonly benches: readonly Bench[];
}

const CONTENDERS = ['resilient-grpc', 'grpc-js', 'grpc-js-retries', 'nest', 'nice-grpc', 'connect-node', 'http2'];
const WITH_POLICIES = ['resilient-grpc-policies', 'grpc-js-deadline'];

/** What differs between the rows of a contender, at the smallest size below. */
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
/** Who has nothing to set up, or is set up already. */
const UNTUNED = ['grpc-js-retries', 'http2'];

const SMALLEST =
  '--rounds 1 --seconds 0.01 --in-flight 1,2 --size 65536 --streams 10 --messages 50 --restarts 1 --json'.split(' ');

const bench = (...args: string[]) => promisify(execFile)(process.execPath, ['bench/main.mjs', ...args], { cwd: ROOT });

let overall: Overall;
beforeAll(async () => {
  const { stdout } = await bench(...SMALLEST);
  overall = JSON.parse(stdout) as Overall;
}, 120_000);

describe('npm run bench', () => {
  it('asks each of its questions, and says how and on which machine they were answered', () => {
    expect(overall.benches.map(({ bench }) => bench)).toEqual(Object.keys(ROWS));
    for (const { question, how } of overall.benches) {
      expect(question).toMatch(/^[A-Z].*\?$/);
      expect(how).not.toBe('');
    }
    const { date, cores, versions } = overall.machine;
    expect(Date.now() - Date.parse(date)).toBeLessThan(120_000);
    expect(cores).toBeGreaterThan(0);
    expect(versions['@grpc/grpc-js']).toMatch(/^1\./);
    expect(versions).toHaveProperty('nice-grpc-client-middleware-retry');
  });

  it.each(Object.keys(ROWS))('%s: has every contender at every size, and numbers alone', (name) => {
    const { results, figures } = overall.benches.find(({ bench }) => bench === name)!;
    const contenders = name === 'unary' ? [...CONTENDERS, ...WITH_POLICIES] : CONTENDERS;
    const found = results.map(({ contender, inFlight, size, direction, setup }) => ({
      contender,
      ...JSON.parse(JSON.stringify({ inFlight, size, direction, setup })),
    }));
    const expected = contenders.flatMap((contender) =>
      ROWS[name]!.filter((row) => !('setup' in row && row.setup === 'tuned' && UNTUNED.includes(contender))).map(
        (row) => ({ contender, ...row }),
      ),
    );
    expect(found).toHaveLength(expected.length);
    expect(found).toEqual(expect.arrayContaining(expected));
    for (const row of results) {
      for (const figure of Object.keys(figures)) {
        // Whoever has no peer has no ratio to it.
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

  it('measures all against grpc-js, and ours with every policy against grpc-js with the same deadline', () => {
    const unary = overall.benches.find(({ bench }) => bench === 'unary')!.results;
    for (const row of unary) {
      if (row.contender === 'grpc-js') expect(row).toMatchObject({ cpuRatio: 1, throughputRatio: 1 });
      if (row.contender === 'resilient-grpc-policies') expect(row).toMatchObject({ peer: 'grpc-js-deadline' });
    }
  });

  it('refuses what it does not know, and says what it does', async () => {
    const refused = await bench('unray').catch((error: unknown) => error);
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/got unray\nUsage: npm run bench .*unary/s),
    });
  });
});

describe('the table of the README', () => {
  const [table] = codeBlocks('README.md').filter(({ text }) => text.includes('npm run bench, which took'));
  const lines = table!.text.split('\n');
  const ruler = lines.findIndex((line) => line.startsWith('---'));
  const body = lines.slice(ruler + 1);

  it('says where and when it was measured, with what', () => {
    expect(lines[0]).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z, Node v\d+\.\d+\.\d+, .+, \d+ cores$/);
    expect(lines[1]).toMatch(/nestjs-resilient-grpc \d+\.\d+\.\d+, @grpc\/grpc-js \d/);
  });

  it('has a column for every contender', () => {
    const columns = [...lines[ruler]!.matchAll(/-+/g)].map(({ index, 0: { length } }) => [index, index + length]);
    const head = lines.slice(lines.indexOf('') + 1, ruler);
    const names = columns.slice(1).map((at) => head.map((line) => line.slice(...at).trim()).join(''));
    expect(new Set(names)).toEqual(new Set([...CONTENDERS, ...WITH_POLICIES]));
  });

  it('has the lines that the command prints, and no others', () => {
    let of: Bench | undefined;
    const seen = new Set<string>();
    for (const line of body) {
      if (!line.startsWith(' ')) {
        of = overall.benches.find(({ bench, question }) => line === `${bench}: ${question}`);
        expect([line, of !== undefined]).toEqual([line, true]);
        continue;
      }
      const [, title = ''] =
        /^ {2}(?:(?:\d+ (?:in flight|B|KiB)|responses|requests|plain|tuned) {2})?(\S+(?: \S+)*)(?: {2,}(?:-?[\d.]+|-)){9}$/.exec(
          line,
        ) ?? [];
      expect([line, Object.values(of!.figures).includes(title)]).toEqual([line, true]);
      seen.add(`${of!.bench}: ${title}`);
    }
    // Those of one benchmark alone are how far apart the rounds were, and what a second ratio is to.
    const printed = overall.benches.flatMap(({ bench, figures }) =>
      Object.entries(figures)
        .filter(([name]) => !['cpuRatioQuartiles', 'peer'].includes(name))
        .filter(([name]) => bench !== 'unary' || !['perSecond', 'throughputRatio'].includes(name))
        .map(([, title]) => `${bench}: ${title}`),
    );
    expect([...seen].sort()).toEqual(printed.sort());
    expect(readFileSync(join(ROOT, 'README.md'), 'utf8')).toContain('<!-- pasted: npm run bench -->\n\n```text\n');
  });
});
