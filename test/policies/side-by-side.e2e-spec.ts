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

const PAGE = join(import.meta.dirname, '../../docs/internals/spec/grpc-js-comparison.md');
/** Rules by the name of their table on the page. */
const TABLES = { retries: RULES, hedging: HEDGING_RULES };
const PART = /(<!-- compared: (\w+) -->\n)[^]*?(<!-- end of compared -->)/g;
const UPDATE = process.env['UPDATE_DOCS'] !== undefined;

async function observe(rule: Rule, maker: Maker, record: Scene['record'] = () => undefined): Promise<string> {
  const server = await startServer();
  const client = await maker(server.url, rule.config);
  return rule.observe({ server, client, record, another: (config, url = server.url) => maker(url, config) });
}

const ALL_RULES = [...RULES, ...HEDGING_RULES];

describe('call rules', () => {
  for (const rule of ALL_RULES) {
    it(
      `follows the rule with this library: ${rule.rule}`,
      { tags: rule.timed === true ? ['timed'] : [] },
      async ({ task }) => {
        const record: Scene['record'] = (figure, ms, atMost) => recordTiming(task, figure, ms, { atMost });
        expect(await observe(rule, resilient, record)).toBe(rule.right);
      },
    );
  }

  it.for(ALL_RULES)(
    'gives the result that the docs state for grpc-js, even if the result breaks the rule: $rule',
    async (rule) => {
      expect(await observe(rule, grpcJs)).toBe(rule.grpcJs ?? rule.right);
    },
  );
});

/** Renders the results of both clients; a result that breaks the rule is bold. */
function table(rules: readonly Rule[]): string {
  const { version } = createRequire(import.meta.url)('@grpc/grpc-js/package.json') as { version: string };
  const rows = rules.map(
    ({ rule, from, right, grpcJs: seen }) => `| ${rule} | ${from} | ${right} | ${seen ? `**${seen}**` : 'the same'} |`,
  );
  return [`| Rule | Source | This library | grpc-js ${version} |`, '| --- | --- | --- | --- |', ...rows].join('\n');
}

describe('docs/internals/spec/grpc-js-comparison.md', () => {
  it('shows the tested rules and their results in docs/internals/spec/grpc-js-comparison.md', async () => {
    const text = readFileSync(PAGE, 'utf8');
    const shown: string[] = [];
    const filled = text.replace(PART, (_all, begin: string, name: keyof typeof TABLES, end: string) => {
      shown.push(name);
      return `${begin}\n${table(TABLES[name])}\n\n${end}`;
    });
    const rendered = await format(filled, { ...(await resolveConfig(PAGE)), filepath: PAGE });
    expect(shown, `the markers in ${PAGE}`).toEqual(Object.keys(TABLES));
    if (UPDATE) writeFileSync(PAGE, rendered);
    else expect(text, 'to update the page, run UPDATE_DOCS=1 npx vitest run test/policies').toBe(rendered);
  });
});
