import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StatusCode } from '../../status/status-code.js';
import { parseServiceConfig } from './parse-service-config.js';

const PATH = 'clients.orders.serviceConfig';
const parse = (value: unknown) => parseServiceConfig(value, PATH);

const RETRY = {
  maxAttempts: 4,
  initialBackoff: '0.1s',
  maxBackoff: '2s',
  backoffMultiplier: 2,
  retryableStatusCodes: ['UNAVAILABLE'],
};
const NAME = [{ service: 'orders.v1.Orders' }];

/** Returns a document with one valid method config, overridden by `change`. */
const withMethod = (change: object) => ({ methodConfig: [{ name: NAME, ...change }] });
const withRetry = (change: object) => withMethod({ retryPolicy: { ...RETRY, ...change } });

function problemsOf(value: unknown): readonly string[] {
  const result = parse(value);
  return result.ok ? [] : result.problems.map(({ path, message }) => `${path.replace(PATH, '$')}: ${message}`);
}

function configOf(value: unknown) {
  const result = parse(value);
  if (!result.ok) throw new Error(JSON.stringify(result.problems));
  return result.config;
}

describe('valid service config', () => {
  it('parses the fields of a service config, and converts durations to milliseconds and codes to numbers', () => {
    const config = configOf({
      loadBalancingConfig: [{ round_robin: {} }],
      methodConfig: [
        {
          name: [
            { service: 'a.B', method: 'Get' },
            { service: 'a.B', method: 'List' },
          ],
          timeout: '0.5s',
          waitForReady: true,
          maxRequestMessageBytes: 1_024,
          maxResponseMessageBytes: 0,
          retryPolicy: { ...RETRY, retryableStatusCodes: ['unavailable', 8, 'ABORTED'] },
        },
        { name: [{}], hedgingPolicy: { maxAttempts: 3, hedgingDelay: '0.07s', nonFatalStatusCodes: ['INTERNAL'] } },
      ],
      retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
    });
    expect(config).toEqual({
      loadBalancingConfig: [{ round_robin: {} }],
      methodConfig: [
        {
          names: [
            { service: 'a.B', method: 'Get' },
            { service: 'a.B', method: 'List' },
          ],
          timeoutMs: 500,
          waitForReady: true,
          maxRequestMessageBytes: 1_024,
          maxResponseMessageBytes: 0,
          retry: {
            maxAttempts: 4,
            initialBackoffMs: 100,
            maxBackoffMs: 2_000,
            backoffMultiplier: 2,
            retryableStatusCodes: new Set([StatusCode.UNAVAILABLE, StatusCode.RESOURCE_EXHAUSTED, StatusCode.ABORTED]),
          },
        },
        {
          names: [{ service: '', method: '' }],
          hedging: { maxAttempts: 3, hedgingDelayMs: 70, nonFatalStatusCodes: new Set([StatusCode.INTERNAL]) },
        },
      ],
      retryThrottling: { maxTokens: 10, tokenRatio: 0.1 },
    });
  });

  it('parses a service config in a JSON string like the equivalent object', () => {
    expect(configOf(JSON.stringify(withRetry({})))).toEqual(configOf(withRetry({})));
  });

  it('accepts an empty service config', () => {
    expect(configOf({})).toEqual({ methodConfig: [] });
  });

  it('reads the healthCheckConfig of a service config', () => {
    const healthCheckConfig = { serviceName: 'orders' };
    expect(configOf({ healthCheckConfig })).toEqual({ methodConfig: [], healthCheckConfig });
  });

  it.each([
    [{ maxConnectionsPerSubchannel: 4 }, { maxConnectionsPerEndpoint: 4 }],
    [{ maxConnectionsPerSubchannel: 11 }, { maxConnectionsPerEndpoint: 10 }],
    [{ maxConnectionsPerSubchannel: null }, {}],
    [{}, {}],
  ])('reads connectionScaling %j as %j', (connectionScaling, expected) => {
    expect(configOf({ connectionScaling })).toEqual({ methodConfig: [], ...expected });
  });

  it.each([
    [{ maxConnectionsPerSubchannel: 0 }, 'maxConnectionsPerSubchannel: expected >=1, got 0'],
    [{ maxConnectionsPerSubchannel: '4' }, 'maxConnectionsPerSubchannel: expected number, got "4"'],
    [{ maxConnectionsPerEndpoint: 4 }, 'maxConnectionsPerEndpoint: unknown option'],
  ])('rejects connectionScaling %j', (connectionScaling, problem) => {
    const result = parse({ connectionScaling });
    expect(result.ok ? [] : result.problems.map(({ path, message }) => `${path}: ${message}`)).toEqual([
      expect.stringContaining(`connectionScaling.${problem}`),
    ]);
  });

  it('applies loadBalancingPolicy only if loadBalancingConfig is absent', () => {
    for (const absent of [{}, { loadBalancingConfig: [] }]) {
      const config = configOf({ loadBalancingPolicy: 'ROUND_ROBIN', ...absent });
      expect(config.loadBalancingConfig).toEqual([{ round_robin: {} }]);
    }
    expect(
      configOf({ loadBalancingPolicy: 'ROUND_ROBIN', loadBalancingConfig: [{ pick_first: {} }] }).loadBalancingConfig,
    ).toEqual([{ pick_first: {} }]);
  });

  it.each([
    ['an empty list of policies', { loadBalancingConfig: [] }, {}],
    ['an empty policy name', { loadBalancingPolicy: '' }, {}],
    [
      'a timeout as an object',
      withMethod({ timeout: { seconds: 1, nanos: 500_000_000 } }),
      { methodConfig: [{ names: [{ service: 'orders.v1.Orders', method: '' }], timeoutMs: 1_500 }] },
    ],
    ['a method config that names no method', withMethod({ name: [] }), { methodConfig: [{ names: [] }] }],
    [
      'a fractional number of tokens',
      { retryThrottling: { maxTokens: 0.5, tokenRatio: 0.1 } },
      { retryThrottling: { maxTokens: 0.5, tokenRatio: 0.1 } },
    ],
  ])('accepts %s in a service config, as grpc-js does', (_what, document, expected) => {
    expect(configOf(document)).toEqual({ methodConfig: [], ...expected });
  });

  it('treats a null field of a service config as absent, as proto3 JSON does', () => {
    expect(configOf(withMethod({ timeout: null, retryPolicy: null }))).toEqual({
      methodConfig: [{ names: [{ service: 'orders.v1.Orders', method: '' }] }],
    });
  });

  it('accepts a service config whose maxAttempts exceeds the limit of the client', () => {
    const result = parse(withRetry({ maxAttempts: 100 }));
    expect(result).toMatchObject({ ok: true, config: { methodConfig: [{ retry: { maxAttempts: 100 } }] } });
    expect(parse(withMethod({ hedgingPolicy: { maxAttempts: 100 } }))).toMatchObject({
      config: { methodConfig: [{ hedging: { maxAttempts: 100, hedgingDelayMs: 0, nonFatalStatusCodes: new Set() } }] },
    });
  });
});

describe('invalid service config', () => {
  it.each<[string, unknown]>([
    ['the text', '\u001b[2J\n[Nest] forged \u009b\u202e'],
    ['a key', { '\u001b[2J\n\u009b': 1 }],
    ['a nested key', { methodConfig: { '\u001b[2J\n\u009b': 1 } }],
    ['a repeated name', { methodConfig: [{ name: Array(2).fill({ service: '\u001b[2J\n\u009b' }) }] }],
  ])('escapes control characters in %s of a service config', (_, document) => {
    const parsed = parseServiceConfig(document, 'serviceConfig');
    expect(parsed.ok).toBe(false);
    for (const { path, message } of parsed.ok ? [] : parsed.problems) {
      expect(path + message).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
    }
  });

  it.each<[string, unknown, string]>([
    [
      'text that is not JSON',
      '{ "methodConfig": [',
      '$: expected a service config as an object or as JSON (SyntaxError',
    ],
    ['a list', [], '$: expected an object, got an array of length 0'],
    ['no value', undefined, '$: expected an object, got nothing'],
    ['an unknown key', { retries: 3 }, '$.retries: unknown option'],
    [
      'a key in another spelling',
      { method_config: [] },
      "$.method_config: unknown option; did you mean 'methodConfig'?",
    ],
    ['method configs that are not a list', { methodConfig: {} }, '$.methodConfig: expected Array, got an empty object'],
    ['a method config that is not an object', { methodConfig: [7] }, '$.methodConfig[0]: expected an object, got 7'],
    ['a method config without names', { methodConfig: [{}] }, '$.methodConfig[0].name: expected a value, got nothing'],
    [
      'a method config with a name that is a string',
      withMethod({ name: ['a.B/Get'] }),
      '$.methodConfig[0].name[0]: expected an object, got "a.B/Get"',
    ],
    [
      'a method name without a service',
      withMethod({ name: [{ method: 'Get' }] }),
      '$.methodConfig[0].name[0].method: expected a service for method "Get", got none',
    ],
    [
      'an unknown key in a name of a method config',
      withMethod({ name: [{ service: 'a.B', Method: 'Get' }] }),
      "$.methodConfig[0].name[0].Method: unknown option; did you mean 'method'?",
    ],
    [
      'a duplicate name of a method config',
      { methodConfig: [{ name: NAME }, { name: [{}, ...NAME] }] },
      '$.methodConfig[1].name[1]: expected a unique name, got orders.v1.Orders/ again (first at clients.orders.serviceConfig.methodConfig[0].name[0])',
    ],
    [
      'a timeout in milliseconds',
      withMethod({ timeout: '500ms' }),
      '$.methodConfig[0].timeout: expected a duration above 0, in seconds as a string such as "0.5s", got "500ms"',
    ],
    [
      'waitForReady in quotes',
      withMethod({ waitForReady: 'true' }),
      '$.methodConfig[0].waitForReady: expected boolean, got "true"',
    ],
    [
      'a negative message size limit',
      withMethod({ maxResponseMessageBytes: -1 }),
      '$.methodConfig[0].maxResponseMessageBytes: expected >=0, got -1',
    ],
    [
      'a maxAttempts of 1 in a retry policy',
      withRetry({ maxAttempts: 1 }),
      '$.methodConfig[0].retryPolicy.maxAttempts: expected >=2, got 1',
    ],
    [
      'a missing initialBackoff',
      withRetry({ initialBackoff: undefined }),
      '$.methodConfig[0].retryPolicy.initialBackoff: expected a value, got nothing',
    ],
    [
      'a backoffMultiplier of 0',
      withRetry({ backoffMultiplier: 0 }),
      '$.methodConfig[0].retryPolicy.backoffMultiplier: expected >0, got 0',
    ],
    [
      'an empty list of status codes',
      withRetry({ retryableStatusCodes: [] }),
      '$.methodConfig[0].retryPolicy.retryableStatusCodes: expected >=1, got an array of length 0',
    ],
    [
      'an unknown status code',
      withRetry({ retryableStatusCodes: ['OFFLINE'] }),
      '$.methodConfig[0].retryPolicy.retryableStatusCodes[0]: expected the name of a status code or a number from 0 to 16, got "OFFLINE"',
    ],
    [
      'a status code above 16',
      withRetry({ retryableStatusCodes: [14, 17] }),
      'retryableStatusCodes[1]: expected the name of a status code or a number from 0 to 16, got 17',
    ],
    [
      'a retry policy together with a hedging policy',
      withMethod({ retryPolicy: RETRY, hedgingPolicy: { maxAttempts: 2 } }),
      '$.methodConfig[0].hedgingPolicy: expected retryPolicy or hedgingPolicy, got both',
    ],
    [
      'a maxAttempts of 1 in a hedging policy',
      withMethod({ hedgingPolicy: { maxAttempts: 1 } }),
      '$.methodConfig[0].hedgingPolicy.maxAttempts: expected >=2, got 1',
    ],
    [
      'a hedging delay in milliseconds',
      withMethod({ hedgingPolicy: { maxAttempts: 2, hedgingDelay: '50ms' } }),
      'hedgingDelay: expected a duration of 0 or more, in seconds as a string such as "0.5s", got "50ms"',
    ],
    [
      'two load balancing policies in one entry',
      { loadBalancingConfig: [{ a: {}, b: {} }] },
      '$.loadBalancingConfig[0]: expected exactly one key, the name of the policy, got an object with a, b',
    ],
    [
      'a load balancing policy given only by name',
      { loadBalancingConfig: ['round_robin'] },
      '$.loadBalancingConfig[0]: expected an object, got "round_robin"',
    ],
    [
      'a maxTokens above 1,000',
      { retryThrottling: { maxTokens: 1_001, tokenRatio: 0.1 } },
      '$.retryThrottling.maxTokens: expected <=1000, got 1001',
    ],
    [
      'a tokenRatio of 0',
      { retryThrottling: { maxTokens: 10, tokenRatio: 0 } },
      '$.retryThrottling.tokenRatio: expected >0, got 0',
    ],
    [
      'a tokenRatio below 0.001',
      { retryThrottling: { maxTokens: 10, tokenRatio: 0.0009 } },
      'expected 0.001 or more, because only three decimals are used, got 0.0009',
    ],
  ])('rejects a service config because of %s, and explains the problem', (_, value, expected) => {
    expect(problemsOf(value)).toEqual([expect.stringContaining(expected)]);
  });

  it('reports all problems of a service config together', () => {
    const problems = problemsOf({
      retires: {},
      methodConfig: [
        { name: 7, timeout: 7, retryPolicy: { maxAttempts: 1, retryableStatusCodes: ['NOPE', 99] } },
        { name: NAME, waitForReady: 1 },
      ],
      retryThrottling: {},
    });
    expect(problems.map((text) => text.slice(0, text.indexOf(':')))).toEqual([
      '$.retires',
      '$.methodConfig[0].name',
      '$.methodConfig[0].timeout',
      '$.methodConfig[0].retryPolicy.maxAttempts',
      '$.methodConfig[0].retryPolicy.initialBackoff',
      '$.methodConfig[0].retryPolicy.maxBackoff',
      '$.methodConfig[0].retryPolicy.backoffMultiplier',
      '$.methodConfig[0].retryPolicy.retryableStatusCodes[0]',
      '$.methodConfig[0].retryPolicy.retryableStatusCodes[1]',
      '$.methodConfig[1].waitForReady',
      '$.retryThrottling.maxTokens',
      '$.retryThrottling.tokenRatio',
    ]);
  });

  it('never throws, whatever value is passed as the service config', () => {
    fc.assert(
      fc.property(fc.anything({ withBigInt: true, withNullPrototype: true }), (value) => {
        for (const document of [
          value,
          { methodConfig: [value] },
          withMethod({ timeout: value }),
          withRetry({ maxAttempts: value }),
        ]) {
          const result = parse(document);
          if (!result.ok) expect(result.problems.length).toBeGreaterThan(0);
        }
      }),
    );
  });
});

describe('nearly valid service config', () => {
  it.each<[title: string, document: unknown, problems: readonly unknown[]]>([
    [
      'a second method config for all methods',
      { methodConfig: [{ name: [{}] }, { name: [{}] }] },
      ['$.methodConfig[1].name[0]: expected a unique name, got all methods again (first at $.methodConfig[0].name[0])'],
    ],
    [
      "grpc-js's key for the response size",
      withMethod({ maxResponseBytes: 5 }),
      [expect.stringContaining('unknown option')],
    ],
    [
      'a method config with several names that are strings',
      withMethod({ name: ['a.B/Get', 'a.B/List'] }),
      [expect.stringContaining('name[0]: expected an object'), expect.stringContaining('name[1]: expected an object')],
    ],
  ])('rejects a service config because of %s', (_title, document, problems) => {
    expect(problemsOf(document).map((problem) => problem.replaceAll(PATH, '$'))).toEqual(problems);
  });

  it('accepts the smallest tokenRatio', () => {
    expect(configOf({ retryThrottling: { maxTokens: 1, tokenRatio: 0.001 } }).retryThrottling).toBeDefined();
  });

  it('omits the keys of absent fields from a method config', () => {
    const [config] = configOf({ methodConfig: [{ name: [{}] }] }).methodConfig;
    expect(Object.keys(config!)).toEqual(['names']);
  });
});
