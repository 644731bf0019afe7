import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { format, resolveConfig } from 'prettier';
import { describe, expect, it } from 'vitest';
import { startServer } from '../calls/support.js';
import { recordTiming } from '../support/timing.js';
import { grpcJs, resilient, type Maker } from './contenders.js';
import { HEDGING_RULES } from './hedging-rules.js';
import { RULES, type Rule, type Scene } from './rules.js';

const PAGE = join(import.meta.dirname, '../../docs/semantics.md');
const PART = /(<!-- compared: rules -->\n)[^]*?(<!-- end of compared -->)/;
const UPDATE = process.env['UPDATE_DOCS'] !== undefined;

async function observe(rule: Rule, maker: Maker, record: Scene['record'] = () => undefined): Promise<string> {
  const server = await startServer();
  const client = await maker(server.url, rule.config);
  return rule.observe({ server, client, record, another: (config, url = server.url) => maker(url, config) });
}

const ALL_RULES = [...RULES, ...HEDGING_RULES];

describe('a rule of gRPC', () => {
  for (const rule of ALL_RULES) {
    it(`${rule.rule}: as it should be`, { tags: rule.timed === true ? ['timed'] : [] }, async ({ task }) => {
      const record: Scene['record'] = (figure, ms, atMost) => recordTiming(task, figure, ms, { atMost });
      expect(await observe(rule, resilient, record)).toBe(rule.right);
    });
  }

  it.for(ALL_RULES)('$rule: as grpc-js keeps it', async (rule) => {
    expect(await observe(rule, grpcJs)).toBe(rule.grpcJs ?? rule.right);
  });
});

/** The table: what is seen of each client, and where that is not the rule. */
function table(): string {
  const { version } = createRequire(import.meta.url)('@grpc/grpc-js/package.json') as { version: string };
  const rows = ALL_RULES.map(
    ({ rule, from, right, grpcJs: seen }) => `| ${rule} | ${from} | ${right} | ${seen ? `**${seen}**` : 'the same'} |`,
  );
  return [`| Rule | From | This library | grpc-js ${version} |`, '| --- | --- | --- | --- |', ...rows].join('\n');
}

describe('docs/semantics.md', () => {
  it('shows these rules, and what was seen', async () => {
    const text = readFileSync(PAGE, 'utf8');
    const filled = text.replace(PART, (_all, begin: string, end: string) => `${begin}\n${table()}\n\n${end}`);
    const rendered = await format(filled, { ...(await resolveConfig(PAGE)), filepath: PAGE });
    expect(PART.test(text), `the markers in ${PAGE}`).toBe(true);
    if (UPDATE) writeFileSync(PAGE, rendered);
    else expect(text, 'UPDATE_DOCS=1 npx vitest run test/policies writes it').toBe(rendered);
  });
});
