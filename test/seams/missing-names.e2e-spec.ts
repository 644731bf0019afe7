import { describe, expect, it } from 'vitest';
import { PRIVATE_NAMES, runSabotaged, compatibilityWarningsOf } from './renamed.js';

// These tests remove several names per run, because each run starts a process. `npm run pack:check` removes one name per run.
describe.concurrent('grpc-js without private names', () => {
  it.each([
    [
      'the names that are probed at startup',
      /^(registerLoadBalancerType|parseLoadBalancingConfig|_runHandlerForCall)$/,
      3,
    ],
    [
      'private names of credentials, of channels, and of the server’s calls',
      /^(_createSecureConnector|onCallStart|_getConstructorOptions|nextCall)$/,
      4,
    ],
  ])('serves and makes calls without %s, and warns about each lost feature once', async (_what, pattern, count) => {
    const names = PRIVATE_NAMES.filter(({ name }) => pattern.test(name));
    expect(names).toHaveLength(count);
    const result = await runSabotaged({ names: names.flatMap(({ sabotage }) => sabotage.names), tls: true });
    expect(result).toMatchObject({ failures: [] });
    const lines = compatibilityWarningsOf(result).join('\n');
    for (const { lost } of names) expect(lines.split(lost)).toHaveLength(2);
  });

  it('fails to start a server or a client, with an error that names the install command, if grpc-js is older than 1.14', async () => {
    const { failures } = await runSabotaged({ names: [], version: '1.13.4' });
    const error = '@grpc/grpc-js: expected 1.14.0 or later, got 1.13.4; run npm install @grpc/grpc-js@^1.14.0';
    const [server, client] = failures;
    expect(server).toBe(`server: ${error}`);
    expect(client).toContain(`GrpcConfigurationError: ${error}\n`);
  });
});
