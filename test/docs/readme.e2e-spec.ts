import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadSync } from '@grpc/proto-loader';
import { describe, expect, it } from 'vitest';
import { OUTAGE_SETUP } from '../../src/contenders/contender-setup.js';
import { CONTENDER_NAMES } from '../../src/contenders/contender.js';
import type { ContenderResult } from '../../src/load/comparison.js';
import { CALL_FIGURES } from '../../src/report/figures.js';
import { table } from '../../src/report/table.js';
import { ROOT, codeBlocks, pageText } from './markdown.js';

const read = (file: string) => readFileSync(join(ROOT, file), 'utf8');
const [printed] = codeBlocks('README.md').filter(({ language }) => language === 'text');
const lines = printed!.text.split('\n');

/** The three figures of a row in the README's table. */
function figures(label: string): number[] {
  const row = lines.find((line) => line.startsWith(label))!;
  return [...row.slice(label.length).matchAll(/\d+/g)].slice(0, 3).map(Number);
}

describe('README size', () => {
  it('keeps the README within 12 KiB, with the install command in the first 3 KiB', () => {
    const bytes = Buffer.from(pageText('README.md'));
    expect(bytes.length).toBeLessThanOrEqual(12_288);
    expect(bytes.subarray(0, 3_072).toString()).toContain('npm i nestjs-resilient-grpc');
  });
});

describe('README commands', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };
  const commands = [...pageText('README.md').matchAll(/\bnpm (?:run )?(start|test|demo|bench)\b/g)].map(
    (match) => match[1]!,
  );

  it('shows the npm scripts start, test, demo, and bench in the README, each with a pre-script in package.json that builds the project', () => {
    expect(new Set(commands)).toEqual(new Set(['start', 'test', 'demo', 'bench']));
    for (const command of commands) {
      expect(scripts).toHaveProperty(command);
      expect(scripts[`pre${command}`]).toBe('tsc -b');
    }
  });

  it('runs npm ci and npm test in CI', () => {
    expect(read('.ci/run')).toMatch(/^npm ci$/m);
    expect(read('.ci/run')).toMatch(/\bnpm test\b/);
  });
});

describe('README demo table', () => {
  it('shows the figures of the README in the output format of the demo', () => {
    const rows = lines.slice(1, 7);
    const cells = {
      reads: figures('reads   failed'),
      writes: figures('writes  failed'),
      twice: figures('writes  executed twice'),
      back: figures('recovery time'),
      longest: figures('longest wait of a call'),
    };
    const results = CONTENDER_NAMES.map((name, index): ContenderResult => {
      const ours = name === 'resilient';
      return {
        name,
        calls: 0,
        succeeded: 0,
        failed: 0,
        failedByCode: {},
        inFlight: 0,
        lostWrites: 0,
        waiting: undefined,
        failedReads: cells.reads[index]!,
        failedWrites: ours ? 0 : cells.writes[index]!,
        unsafeInFlightFailed: ours ? cells.writes[index]! : 0,
        duplicatedWrites: cells.twice[index]!,
        recoveryMs: cells.back[index]!,
        longestWaitMs: cells.longest[index]!,
      };
    });
    const terms = { figures: CALL_FIGURES, tunedTitle: OUTAGE_SETUP.tunedTitle };
    expect(rows).toEqual(table(results, terms).split('\n'));
  });

  it('shows the log lines of the README in the log format of the client', () => {
    const [warning, end] = lines.slice(8);
    expect(warning).toMatch(
      /^WARN \[ResilientGrpc:orders\] outage: \S+ refused the connection: .+ \(ECONNREFUSED\); .+; calls wait up to \d+(\.\d)? s or until their deadline \(\d+ waiting\); to diagnose, run: .+$/,
    );
    expect(end).toMatch(
      /^LOG {2}\[ResilientGrpc:orders\] reconnected after 3\.\d s, \d+ failed attempts; \d+ calls waited, 0 failed$/,
    );
  });

  // test/demo/scenarios.e2e-spec.ts asserts these figures for the demo.
  it('shows zero failed reads and zero duplicated writes of our client in the README', () => {
    expect([figures('reads   failed')[2], figures('writes  executed twice')[2]]).toEqual([0, 0]);
    expect(lines.find((line) => line.startsWith('writes  lost'))).toBeUndefined();
  });
});

describe('README proto', () => {
  it('declares a subset of protos/orders.proto in the README', () => {
    const folder = mkdtempSync(join(tmpdir(), 'readme-proto-'));
    const [shown] = codeBlocks('README.md').filter(({ language }) => language === 'proto');
    writeFileSync(join(folder, 'orders.proto'), shown!.text);
    const excerpt = contract(join(folder, 'orders.proto'));
    rmSync(folder, { recursive: true });
    const full = contract(join(ROOT, 'protos/orders.proto'));
    expect(full.methods).toEqual(excerpt.methods);
    expect(full.fields).toEqual(expect.arrayContaining(excerpt.fields));
    expect(excerpt.fields).toHaveLength(5);
  });
});

/** The methods Get and Create of a proto, and the fields of their messages. */
function contract(path: string) {
  // The cast is safe because proto-loader returns services and messages in this form.
  const all = loadSync(path) as unknown as {
    readonly 'orders.v1.Orders': Readonly<
      Record<'Get' | 'Create', { readonly path: string; readonly options: object }>
    >;
  } & Readonly<
    Record<
      'orders.v1.GetOrderRequest' | 'orders.v1.CreateOrderRequest' | 'orders.v1.Order',
      { readonly type: { readonly field: readonly { name: string; number: number; type: string }[] } }
    >
  >;
  const { Get, Create } = all['orders.v1.Orders'];
  const methods = [Get, Create].map(({ path: name, options }) => ({ name, options }));
  const fields = (['GetOrderRequest', 'CreateOrderRequest', 'Order'] as const).flatMap((message) =>
    all[`orders.v1.${message}`].type.field.map(({ name, number, type }) => `${message}.${name} ${number} ${type}`),
  );
  return { methods, fields };
}

describe('README picture', () => {
  it('keeps the README picture at 1200 × 750 pixels and below 200 KiB', () => {
    const png = readFileSync(join(ROOT, 'docs/demo.png'));
    expect(png.subarray(1, 4).toString()).toBe('PNG');
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1_200, 750]);
    expect(png.length).toBeLessThan(200 * 1024);
  });
});
