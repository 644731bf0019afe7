import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chooseServiceConfig, serviceConfigAttribute, type ChoosingClient } from './choose-service-config.js';

const CLIENT: ChoosingClient = { hostname: 'pod-7', percentile: 30 };

/** Returns the marker of the chosen service config, 'none' if no choice matches, or the problems. */
function choose(choices: unknown, client: Partial<ChoosingClient> = {}): unknown {
  const text = typeof choices === 'string' ? choices : JSON.stringify(choices);
  const choice = chooseServiceConfig(text, 'txt', { ...CLIENT, ...client });
  if (!choice.ok) return choice.problems.map(({ path, message }) => `${path}: ${message}`);
  return (choice.serviceConfig as { is?: unknown } | undefined)?.is ?? 'none';
}

const config = (is: string) => ({ serviceConfig: { is } });

describe('chooseServiceConfig', () => {
  it.each<[title: string, choices: unknown, result: unknown, client?: Partial<ChoosingClient>]>([
    ['chooses the service config of the first choice that matches', [config('a'), config('b')], 'a'],
    ['chooses no service config from an empty list', [], 'none'],
    ['chooses no service config if no choice matches', [{ clientLanguage: ['go'], ...config('a') }], 'none'],
    [
      'treats an absent or empty field of a service config choice as a match for all clients',
      [{ clientLanguage: [], clientHostname: [], ...config('a') }],
      'a',
    ],
    [
      'treats a null field of a service config choice as absent',
      [{ clientLanguage: null, percentage: null, ...config('a') }],
      'a',
    ],
    [
      'matches the language of a service config choice case-insensitively',
      [{ clientLanguage: ['GO', 'Node'], ...config('a') }],
      'a',
    ],
    [
      'skips a service config choice for other languages',
      [{ clientLanguage: ['go', 'java'], ...config('a') }, config('b')],
      'b',
    ],
    ['matches the exact host name of a service config choice', [{ clientHostname: ['pod-7'], ...config('a') }], 'a'],
    [
      'matches the host name of a service config choice case-sensitively',
      [{ clientHostname: ['POD-7'], ...config('a') }, config('b')],
      'b',
    ],
    [
      'skips a service config choice that contains only a part of the host name, or a longer name',
      [{ clientHostname: ['pod-77', 'pod'], ...config('a') }],
      'none',
    ],
    [
      'matches a service config choice whose percentage is above the percentile of the client',
      [{ percentage: 31, ...config('a') }, config('b')],
      'a',
    ],
    [
      'skips a service config choice whose percentage equals the percentile of the client',
      [{ percentage: 30, ...config('a') }, config('b')],
      'b',
    ],
    [
      'matches no client with a service config choice at 0 percent',
      [{ percentage: 0, ...config('a') }],
      'none',
      { percentile: 0 },
    ],
    [
      'matches all clients with a service config choice at 100 percent',
      [{ percentage: 100, ...config('a') }],
      'a',
      { percentile: 99.999_999 },
    ],
    [
      'requires all fields of a service config choice to match',
      [
        { clientLanguage: ['node'], clientHostname: ['pod-7'], percentage: 30, ...config('language and host') },
        { clientLanguage: ['node'], clientHostname: ['pod-8'], percentage: 31, ...config('language and percentage') },
        { clientLanguage: ['go'], clientHostname: ['pod-7'], percentage: 31, ...config('host and percentage') },
        { clientLanguage: ['node'], clientHostname: ['pod-7'], percentage: 31, ...config('all') },
      ],
      'all',
    ],
  ])('%s', (_title, choices, result, client) => {
    expect(choose(choices, client)).toEqual(result);
  });

  it.each<[title: string, choices: unknown, problem: string]>([
    ['text that is not JSON', '[{', 'txt: expected a list of service config choices as JSON ('],
    ['a value that is not a list', config('a'), 'txt: expected Array, got an object with serviceConfig'],
    ['a choice that is not an object', ['a'], 'txt[0]: expected an object, got "a"'],
    ['an unknown field', [{ clientCluster: ['x'], ...config('a') }], 'txt[0].clientCluster: unknown option'],
    ['a choice without a service config', [{}], 'txt[0].serviceConfig: expected a value'],
    ['a service config that is not an object', [{ serviceConfig: '{}' }], 'txt[0].serviceConfig: expected'],
    ['a percentage below 0', [{ percentage: -1, ...config('a') }], 'txt[0].percentage: expected >=0'],
    ['a percentage above 100', [{ percentage: 101, ...config('a') }], 'txt[0].percentage: expected'],
    ['a fraction of a percent', [{ percentage: 0.5, ...config('a') }], 'txt[0].percentage: expected'],
    ['a percentage in quotes', [{ percentage: '50', ...config('a') }], 'txt[0].percentage: expected'],
    [
      'languages that are not a list',
      [{ clientLanguage: 'node', ...config('a') }],
      'txt[0].clientLanguage: expected Array',
    ],
    [
      'a language that is not a string',
      [{ clientLanguage: [1], ...config('a') }],
      'txt[0].clientLanguage[0]: expected string, got 1',
    ],
    [
      'a host name that is not a string',
      [{ clientHostname: ['x', {}], ...config('a') }],
      'txt[0].clientHostname[1]: expected',
    ],
    ['an invalid choice after the one that matches', [config('a'), { percentage: 7.5, ...config('b') }], 'txt[1].perc'],
  ])('rejects the whole list of service config choices because of %s', (_title, choices, problem) => {
    expect(choose(choices)).toEqual([expect.stringContaining(problem)]);
  });

  it('reports every problem of a list of service config choices', () => {
    expect(choose([{ percentage: 200 }, { clientLanguage: 1, ...config('b') }])).toHaveLength(3);
  });

  it('returns the path of the chosen service config', () => {
    const text = JSON.stringify([{ percentage: 0, ...config('a') }, config('b')]);
    expect(chooseServiceConfig(text, 'txt', CLIENT)).toMatchObject({ path: 'txt[1].serviceConfig' });
  });

  it('applies a service config choice to exactly its percentage of clients', () => {
    const percent = fc.integer({ min: 0, max: 100 });
    fc.assert(
      fc.property(percent, fc.integer({ min: 0, max: 99 }), (percentage, percentile) => {
        expect(choose([{ percentage, ...config('a') }], { percentile })).toBe(percentile < percentage ? 'a' : 'none');
      }),
    );
  });

  it('never throws, whatever text is passed as the list of service config choices', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
        expect(() => choose(text)).not.toThrow();
      }),
    );
  });
});

describe('serviceConfigAttribute', () => {
  it.each<[title: string, records: string[][], value: string | undefined]>([
    [
      'joins the strings of the TXT record that contains the grpc_config attribute',
      [['grpc_config=[', '{}', ']']],
      '[{}]',
    ],
    ['accepts a TXT record that is split within the attribute name', [['grpc_', 'config=[]']], '[]'],
    ['finds the grpc_config attribute among other TXT records', [['v=spf1'], ['grpc_config=[]']], '[]'],
    ['returns only the first of several grpc_config attributes', [['grpc_config=[1]'], ['grpc_config=[2]']], '[1]'],
    [
      'returns undefined for other attributes in TXT records',
      [['grpc_configs=[]'], ['xgrpc_config=[]'], []],
      undefined,
    ],
    ['returns undefined if there are no TXT records', [], undefined],
  ])('%s', (_title, records, value) => {
    expect(serviceConfigAttribute(records)).toBe(value);
  });
});
