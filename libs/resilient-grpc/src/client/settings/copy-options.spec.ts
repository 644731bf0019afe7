import { Metadata } from '@grpc/grpc-js';
import { NEVER } from 'rxjs';
import { describe, expect, it } from 'vitest';
import { copyOptions } from './copy-options.js';

describe('copyOptions', () => {
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
    expect(copyOptions(new Config())).toEqual({
      timeoutMs: 5,
      url: 'orders:50051',
      keepalive: { keepaliveTimeMs: 30_000 },
    });
  });

  it('reads inherited properties as client options', () => {
    const shared = Object.create({ timeoutMs: 5 }) as Record<string, unknown>;
    shared['keepalive'] = { keepaliveTimeMs: 30_000 };
    expect(copyOptions(Object.assign(Object.create(shared) as object, { url: 'orders:50051' }))).toEqual({
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
    expect(copyOptions(config)).toEqual({ url: config.url, metadata: config.metadata, useFactory: config.useFactory });
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
    const copy = copyOptions(options) as typeof options;
    expect(copy.metadata).toBe(metadata);
    expect(copy.packageDefinition).toBe(packageDefinition);
    expect(copy.interceptors[0]).toBe(interceptor);
    expect(copy.serviceConfig).toBe(NEVER);
    expect(copy.tls.key).toBe(key);
    expect(copy.loader.longs).toBe(String);
    expect(copy.tls).not.toBe(options.tls);
  });

  it("copies a key '__proto__' of the client options as a property", () => {
    const copy = copyOptions(JSON.parse('{"methods": {"__proto__": {"polluted": true}}}')) as { methods: object };
    expect(Object.keys(copy.methods)).toEqual(['__proto__']);
    expect(Reflect.get({}, 'polluted')).toBeUndefined();
  });
});
