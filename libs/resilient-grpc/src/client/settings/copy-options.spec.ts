import { Metadata } from '@grpc/grpc-js';
import { NEVER } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { copyOptions } from './copy-options.js';

const throwing = (): never => {
  throw new Error('not for you');
};

function copied(options: unknown): unknown {
  const result = copyOptions(options, 'clients.orders');
  if (!result.ok) throw new Error('the options were rejected');
  return result.value;
}

function problems(options: unknown): readonly string[] {
  const result = copyOptions(options, 'clients.orders');
  return result.ok ? [] : result.problems.map(({ path, message }) => `${path}: ${message}`);
}

describe('copyOptions', () => {
  it('reads each property of the client options once', () => {
    let reads = 0;
    const options = Object.defineProperty({}, 'timeoutMs', { enumerable: true, get: () => ++reads });
    const copy = copied(options) as { timeoutMs: number };
    expect([copy.timeoutMs, copy.timeoutMs]).toEqual([1, 1]);
  });

  it('reads getters of a class as client options', () => {
    class Base {
      readonly timeoutMs = 5;
      get url() {
        return 'orders:50051';
      }
      create() {
        return this.url;
      }
    }
    class Config extends Base {
      get keepalive() {
        return { keepaliveTimeMs: 30_000 };
      }
    }
    expect(copied(new Config())).toEqual({
      timeoutMs: 5,
      url: 'orders:50051',
      keepalive: { keepaliveTimeMs: 30_000 },
    });
  });

  it('reads inherited properties as client options', () => {
    const shared = Object.create({ timeoutMs: 5 }) as Record<string, unknown>;
    shared['keepalive'] = { keepaliveTimeMs: 30_000 };
    expect(copied(Object.assign(Object.create(shared) as object, { url: 'orders:50051' }))).toEqual({
      url: 'orders:50051',
      timeoutMs: 5,
      keepalive: { keepaliveTimeMs: 30_000 },
    });
  });

  it('reads a metadata function and a factory that a class declares as methods', () => {
    class Config {
      readonly url = 'orders:50051';
      metadata() {
        return { 'x-tenant': 'shop' };
      }
      useFactory() {
        return {};
      }
    }
    const config = new Config();
    expect(copied(config)).toEqual({ url: config.url, metadata: config.metadata, useFactory: config.useFactory });
  });

  it('copies instances, functions, definitions, and interceptors of the client options by reference', () => {
    const metadata = new Metadata();
    const key = Buffer.from('k');
    const packageDefinition = { Orders: {} };
    const interceptor = { calls: 0, onCall: () => undefined };
    const loader = { longs: String };
    const options = {
      metadata,
      packageDefinition,
      interceptors: [interceptor],
      serviceConfig: NEVER,
      tls: { key },
      loader,
    };
    const copy = copied(options) as typeof options;
    expect(copy.metadata).toBe(metadata);
    expect(copy.packageDefinition).toBe(packageDefinition);
    expect(copy.interceptors[0]).toBe(interceptor);
    expect(copy.serviceConfig).toBe(NEVER);
    expect(copy.tls.key).toBe(key);
    expect(copy.loader.longs).toBe(String);
    expect(copy.tls).not.toBe(options.tls);
  });

  it("copies a key '__proto__' of the client options as a property", () => {
    const copy = copied(JSON.parse('{"methods": {"__proto__": {"polluted": true}}}')) as { methods: object };
    expect(Object.keys(copy.methods)).toEqual(['__proto__']);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });

  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  it.each<[what: string, options: unknown, problem: RegExp]>([
    [
      'a getter that throws',
      Object.defineProperty({}, 'url', { enumerable: true, get: throwing }),
      /^clients\.orders: cannot be read: not for you/,
    ],
    [
      'a getter that throws an unreadable value',
      Object.defineProperty({}, 'url', {
        enumerable: true,
        get: () => {
          throw Object.create(null);
        },
      }),
      /an unreadable error/,
    ],
    ['a proxy that throws', new Proxy({}, { ownKeys: throwing }), /^clients\.orders: cannot be read/],
    [
      'a nested proxy that throws',
      { tls: new Proxy({}, { getPrototypeOf: throwing }) },
      /^clients\.orders: cannot be read/,
    ],
    [
      'a getter that throws an error with a password, which is masked',
      Object.defineProperty({}, 'url', {
        enumerable: true,
        get: () => {
          throw new Error('no redis://app:hush@cache');
        },
      }),
      /no redis:\/\/\*\*\*@cache;/,
    ],
    ['a cycle', cycle, /^clients\.orders: cannot be read: Maximum call stack/],
  ])('rejects client options with %s', (_what, options, problem) => {
    expect(problems(options)).toHaveLength(1);
    expect(problems(options)[0]).toMatch(problem);
  });
});
