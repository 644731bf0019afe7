import { describe, expect, it } from 'vitest';
import { GrpcConfigurationError } from '../../errors/grpc-configuration-error.js';
import { chooseServiceConfig } from './choose-service-config.js';
import { exceededBound, MAX_CONFIG_CHARACTERS, MAX_CONFIG_DEPTH, MAX_CONFIG_VALUES } from './document-bounds.js';
import { parseServiceConfig } from './parse-service-config.js';

const nested = (depth: number): unknown => JSON.parse('['.repeat(depth) + ']'.repeat(depth));

describe('service config bounds', () => {
  it.each([
    ['depth', nested(MAX_CONFIG_DEPTH), nested(MAX_CONFIG_DEPTH + 1)],
    ['values', Array(MAX_CONFIG_VALUES - 1).fill(0), Array(MAX_CONFIG_VALUES).fill(0)],
    ['characters', ['x'.repeat(MAX_CONFIG_CHARACTERS)], { ['x'.repeat(MAX_CONFIG_CHARACTERS)]: 'y' }],
  ])('accepts a service config at the limit on %s and rejects one beyond the limit', (bound, largest, tooMuch) => {
    expect(exceededBound(largest)).toBeUndefined();
    expect(exceededBound(tooMuch)).toContain(bound);
  });

  it('rejects an array and a Buffer in a service config by their length without reading them', () => {
    const unread = new Proxy(Array(MAX_CONFIG_VALUES), {
      ownKeys: () => {
        throw new Error('the array was read');
      },
    });
    expect(exceededBound(unread)).toContain('values');
    expect(exceededBound({ file: Buffer.alloc(100_000_000) })).toContain('values');
  });

  it('rejects a service config that contains itself', () => {
    const cyclic: Record<string, unknown> = {};
    cyclic['self'] = cyclic;
    expect(parseServiceConfig(cyclic, 'serviceConfig')).toMatchObject({
      ok: false,
      problems: [{ path: 'serviceConfig', message: expect.stringContaining('a depth of at most 32') as string }],
    });
  });

  it('rejects service config text that is too long, without parsing it', () => {
    const text = ' '.repeat(MAX_CONFIG_CHARACTERS) + '{}';
    const problem = {
      message: expect.stringMatching(/^expected .* at most 1048576 characters, got 1048578/) as string,
    };
    expect(parseServiceConfig(text, 'serviceConfig')).toMatchObject({ ok: false, problems: [problem] });
    const client = { hostname: 'a', percentile: 0 };
    expect(chooseServiceConfig(text, 'record', client)).toMatchObject({ ok: false, problems: [problem] });
  });

  it('rejects a list of service config choices that is nested too deeply', () => {
    const text = JSON.stringify([{ serviceConfig: { a: nested(MAX_CONFIG_DEPTH) } }]);
    expect(chooseServiceConfig(text, 'record', { hostname: 'a', percentile: 0 }).ok).toBe(false);
  });
});

describe('service config problems', () => {
  it('lists the first 100 problems of a service config and counts the rest', () => {
    const methodConfig = Array.from({ length: 1_000 }, () => ({ name: [{}], timeout: 1 }));
    const parsed = parseServiceConfig({ methodConfig }, 'serviceConfig');
    if (parsed.ok) throw new Error('the document was accepted');
    expect(parsed.problems).toHaveLength(101);
    // Every method config has an invalid timeout, and all except the first repeat the name of the first.
    expect(parsed.problems.at(-1)?.message).toBe('problems not listed: 1899; the first of them is at this path');
    const { message } = new GrpcConfigurationError(parsed.problems);
    expect(message).toMatch(/^1999 problems in the gRPC configuration:[^]*\n {2}and 1949 more$/);
  });

  it.each([
    ['a key', { ['k'.repeat(100_000)]: 1 }],
    ['a name', { methodConfig: [{ name: [{ service: 'S'.repeat(100_000) }, { service: 'S'.repeat(100_000) }] }] }],
    ['a method without a service', { methodConfig: [{ name: [{ method: 'm'.repeat(100_000) }] }] }],
    ['the name of a policy', { loadBalancingConfig: [{ ['p'.repeat(100_000)]: 1 }] }],
  ])('truncates a long value in the message of a service config problem: %s', (_title, config) => {
    const parsed = parseServiceConfig(config, 'serviceConfig');
    if (parsed.ok) throw new Error('the document was accepted');
    for (const { path, message } of parsed.problems) expect(`${path}: ${message}`.length).toBeLessThan(500);
  });
});
