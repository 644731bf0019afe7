import { describe, expect, it } from 'vitest';
import { proxyProblem, withProxyVariables } from './http-proxy.js';

const seen = (env: Record<string, string | undefined>) =>
  withProxyVariables(env, () => [env['grpc_proxy'], env['https_proxy'], env['http_proxy'], env['no_proxy']]);

describe('withProxyVariables', () => {
  it.each([
    ['HTTPS_PROXY', { HTTPS_PROXY: 'http://a' }, [undefined, 'http://a', undefined, undefined]],
    ['HTTP_PROXY and NO_PROXY', { HTTP_PROXY: 'http://a', NO_PROXY: 'b' }, [undefined, undefined, 'http://a', 'b']],
    [
      'a lower-case name first',
      { http_proxy: 'http://a', HTTPS_PROXY: 'http://b' },
      [undefined, undefined, 'http://a', undefined],
    ],
    [
      'an empty lower-case name not',
      { https_proxy: '', HTTPS_PROXY: 'http://a' },
      [undefined, 'http://a', undefined, undefined],
    ],
    [
      'no_grpc_proxy first',
      { grpc_proxy: 'http://a', no_grpc_proxy: 'x', NO_PROXY: 'b' },
      ['http://a', undefined, undefined, undefined],
    ],
  ])('lets grpc-js read %s, and restores the environment', (_what, given, expected) => {
    const env: Record<string, string | undefined> = { ...given };
    expect(seen(env)).toEqual(expected);
    expect(env).toEqual(given);
  });
});

describe('proxyProblem', () => {
  it.each([
    ['https://me:secret@proxy:3128', 'https:'],
    ['socks5://proxy:1080', 'socks5:'],
    ['proxy:3128', 'proxy:'],
    ['???', 'not a URL'],
  ])('names the scheme of %s, and no secret', (value, scheme) => {
    const problem = `connections bypass the proxy in HTTPS_PROXY, which is ${scheme}; write an http:// URL, or set no_proxy`;
    expect(proxyProblem({ HTTPS_PROXY: value })).toBe(problem);
  });

  it('finds none without a proxy, or with an HTTP proxy', () => {
    expect([proxyProblem({}), proxyProblem({ HTTP_PROXY: 'http://me:secret@proxy' })]).toEqual([undefined, undefined]);
  });
});
