import { describe, expect, it } from 'vitest';
import { PRIVATE_NAMES, play, untested } from './renamed.js';

/** Names whose absence is found before the first connection, and those that hide below a connection that is seen. */
const AT_THE_START =
  /^(registerLoadBalancerType|parseLoadBalancingConfig|BaseFilter|getChannel|_createSecureConnector|unrefUnusedSubchannels|createHttp2Server)$/;
const BELOW = /^(resetBackoff|getEndTime|transport|http2Stream|node:getpeername|\[state\]|\[kHandle\]|stream)$/;

// Each name alone is a matter of `npm run pack:check`: a play costs a process.
describe.concurrent('a grpc-js without private names', () => {
  it('runs without a warning if all names are there', async () => {
    const played = await play({ names: [], tls: true });
    expect(played).toMatchObject({ failures: [] });
    expect(untested(played)).toEqual([]);
  });

  it.each([
    ['the names that are probed at the start', AT_THE_START, 7],
    ['the names of connections and calls', BELOW, 8],
  ])('serves and calls without %s, and warns of each lost feature once', async (_what, pattern, count) => {
    const names = PRIVATE_NAMES.filter(({ name }) => pattern.test(name));
    expect(names).toHaveLength(count);
    const played = await play({ names: names.flatMap(({ sabotage }) => sabotage.names), tls: true });
    expect(played).toMatchObject({ failures: [] });
    const lines = untested(played).join('\n');
    for (const { lost } of names) expect(lines.split(lost)).toHaveLength(2);
  });

  it('fails the start of server and client with what to install if it is older than 1.14', async () => {
    const { failures } = await play({ names: [], version: '1.13.4' });
    const error = '@grpc/grpc-js: expected 1.14.7 or later, got 1.13.4; run npm install @grpc/grpc-js@^1.14.7';
    const [server, client] = failures;
    expect(server).toBe(`server: ${error}`);
    expect(client).toContain(`GrpcConfigurationError: ${error}\n`);
  });
});
