import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseServiceConfig, serviceConfigAttribute, type ChoosingClient } from './choose-service-config.js';

const CLIENT: ChoosingClient = { hostname: 'pod-7', percentile: 30 };

/** Which choice is taken, by the marker in its service config; 'none', or the problems. */
function taken(choices: unknown, client: Partial<ChoosingClient> = {}): unknown {
  const text = typeof choices === 'string' ? choices : JSON.stringify(choices);
  const choice = chooseServiceConfig(text, 'txt', { ...CLIENT, ...client });
  if (!choice.ok) return choice.problems.map(({ path, message }) => `${path}: ${message}`);
  return (choice.serviceConfig as { is?: unknown } | undefined)?.is ?? 'none';
}

const config = (is: string) => ({ serviceConfig: { is } });

describe('a list of service config choices', () => {
  it.each<[sentence: string, choices: unknown, result: unknown, client?: Partial<ChoosingClient>]>([
    ['the first entry that matches wins', [config('a'), config('b')], 'a'],
    ['an empty list has none', [], 'none'],
    ['none may match', [{ clientLanguage: ['go'], ...config('a') }], 'none'],
    ['an absent or empty field matches all clients', [{ clientLanguage: [], clientHostname: [], ...config('a') }], 'a'],
    ['null is absent', [{ clientLanguage: null, percentage: null, ...config('a') }], 'a'],
    ['the language is not case-sensitive', [{ clientLanguage: ['GO', 'Node'], ...config('a') }], 'a'],
    ['another language does not match', [{ clientLanguage: ['go', 'java'], ...config('a') }, config('b')], 'b'],
    ['the host name is exact', [{ clientHostname: ['pod-7'], ...config('a') }], 'a'],
    ['the host name is case-sensitive', [{ clientHostname: ['POD-7'], ...config('a') }, config('b')], 'b'],
    ['a part of the host name does not match', [{ clientHostname: ['pod-77', 'pod'], ...config('a') }], 'none'],
    ['a percentage above the draw matches', [{ percentage: 31, ...config('a') }, config('b')], 'a'],
    ['a percentage at the draw does not', [{ percentage: 30, ...config('a') }, config('b')], 'b'],
    ['0 percent are nobody', [{ percentage: 0, ...config('a') }], 'none', { percentile: 0 }],
    ['100 percent are everybody', [{ percentage: 100, ...config('a') }], 'a', { percentile: 99.999_999 }],
    [
      'all fields must match',
      [
        { clientLanguage: ['node'], clientHostname: ['pod-7'], percentage: 30, ...config('language and host') },
        { clientLanguage: ['node'], clientHostname: ['pod-8'], percentage: 31, ...config('language and percentage') },
        { clientLanguage: ['go'], clientHostname: ['pod-7'], percentage: 31, ...config('host and percentage') },
        { clientLanguage: ['node'], clientHostname: ['pod-7'], percentage: 31, ...config('all') },
      ],
      'all',
    ],
  ])('%s', (_sentence, choices, result, client) => {
    expect(taken(choices, client)).toEqual(result);
  });

  it.each<[sentence: string, choices: unknown, problem: string]>([
    ['a text that is no JSON', '[{', 'txt: expected a list of service config choices as JSON ('],
    ['what is no list', config('a'), 'txt: expected a list of service config choices, got {'],
    ['a choice that is no object', ['a'], 'txt[0]: expected a service config choice as an object, got "a"'],
    ['an unexpected field', [{ clientCluster: ['x'], ...config('a') }], 'txt[0].clientCluster: is not a key'],
    ['a choice without a service config', [{}], 'txt[0].serviceConfig: expected a service config as an object'],
    ['a service config that is no object', [{ serviceConfig: '{}' }], 'txt[0].serviceConfig: expected'],
    [
      'a percentage below 0',
      [{ percentage: -1, ...config('a') }],
      'txt[0].percentage: expected an integer from 0 to 100',
    ],
    ['a percentage above 100', [{ percentage: 101, ...config('a') }], 'txt[0].percentage: expected'],
    ['a fraction of a percent', [{ percentage: 0.5, ...config('a') }], 'txt[0].percentage: expected'],
    ['a percentage as text', [{ percentage: '50', ...config('a') }], 'txt[0].percentage: expected'],
    [
      'languages that are not a list',
      [{ clientLanguage: 'node', ...config('a') }],
      'txt[0].clientLanguage: expected a list of names, got',
    ],
    [
      'a language that is not a string',
      [{ clientLanguage: [1], ...config('a') }],
      'txt[0].clientLanguage[0]: expected a name as text, got 1',
    ],
    ['a host that is no text', [{ clientHostname: ['x', {}], ...config('a') }], 'txt[0].clientHostname[1]: expected'],
    ['a wrong choice after the one that matches', [config('a'), { percentage: 7.5, ...config('b') }], 'txt[1].perc'],
  ])('%s discards them all', (_sentence, choices, problem) => {
    expect(taken(choices)).toEqual([expect.stringContaining(problem)]);
  });

  it('tells every problem', () => {
    expect(taken([{ percentage: 200 }, { clientLanguage: 1, ...config('b') }])).toHaveLength(3);
  });

  it('tells where the chosen one stands', () => {
    const text = JSON.stringify([{ percentage: 0, ...config('a') }, config('b')]);
    expect(chooseServiceConfig(text, 'txt', CLIENT)).toMatchObject({ path: 'txt[1].serviceConfig' });
  });

  it('gives a percentage of clients what it says', () => {
    const percent = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(percent, fc.integer({ min: 0, max: 99 }), (percentage, percentile) => {
        expect(taken([{ percentage, ...config('a') }], { percentile })).toBe(percentile < percentage ? 'a' : 'none');
      }),
    );
  });

  it('never throws, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(() => taken(text)).not.toThrow();
      }),
    );
  });
});

describe('the attribute grpc_config', () => {
  it.each<[sentence: string, records: string[][], value: string | undefined]>([
    ['is joined from the strings of its record', [['grpc_config=[', '{}', ']']], '[{}]'],
    ['may be split within its name', [['grpc_', 'config=[]']], '[]'],
    ['stands beside others', [['v=spf1'], ['grpc_config=[]']], '[]'],
    ['counts once', [['grpc_config=[1]'], ['grpc_config=[2]']], '[1]'],
    ['is absent from other attributes', [['grpc_configs=[]'], ['xgrpc_config=[]'], []], undefined],
    ['is absent where there are no records', [], undefined],
  ])('%s', (_sentence, records, value) => {
    expect(serviceConfigAttribute(records)).toBe(value);
  });
});
