import { ScriptedGrpcServer, captureLeaks } from 'nestjs-resilient-grpc/testing';
import { beforeEach, describe, expect, it } from 'vitest';
import { ORDERS_PROTO } from '../nest/places.js';
import { NameServer } from '../support/name-server.js';
import { command, doctor } from './support.js';

let names: NameServer;
let port: number;

beforeEach(async ({ onTestFinished }) => {
  const leaks = captureLeaks();
  onTestFinished(() => leaks.settled());
  const server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  onTestFinished(() => server.close());
  names = await NameServer.start();
  onTestFinished(() => names.close());
  names.knows = true;
  port = server.port;
});

/** The doctor of a target whose name is asked of the name server above. */
function doctorOfName(use = 'true') {
  return doctor([`dns://${names.url}/orders.example:${port}`], { env: { GRPC_NODE_USE_ALTERNATIVE_RESOLVER: use } });
}

describe('a name', () => {
  it('is resolved by the name server in the target, as the client does it', async () => {
    const { code, of } = await doctorOfName();
    expect(code).toBe(0);
    expect(of('target')).toMatchObject({
      status: 'ok',
      facts: { addresses: [{ address: `127.0.0.1:${port}`, kind: 'loopback' }] },
    });
    expect(of('dns-config')).toMatchObject({ status: 'skipped', facts: { name: '_grpc_config.orders.example' } });
  });

  it('that does not exist is told as that', async () => {
    const { code, of } = await doctor(['orders.invalid:50051']);
    expect(code).toBe(1);
    expect(of('target').status).toBe('failed');
    // A machine without DNS says that nobody answers.
    expect(of('target').facts['code']).toMatch(/^(ENOTFOUND|EAI_AGAIN|ETIMEDOUT)$/);
  });

  it('is taken for what no client would take', async () => {
    const { code, of } = await doctor(['http://orders:50051']);
    expect(code).toBe(1);
    expect(of('target').remedy).toBe("write 'orders:50051': gRPC has no such scheme");
  });

  it('of a scheme that an application must register is told as that', async () => {
    const { code, of } = await doctor(['xds:///orders']);
    expect(code).toBe(1);
    expect(of('target').says).toBe("grpc-js knows no 'xds:' by itself");
  });

  it('behind a proxy of the environment is told, with the proxy', async () => {
    // grpc-js itself tells of it on stderr, too.
    const { stdout } = await command(['doctor', 'orders.example:50051', '--connect-timeout', '0.5s'], {
      env: { grpc_proxy: `http://127.0.0.1:${port}` },
    });
    expect(stdout).toMatch(
      new RegExp(`^warn +proxy +connections go through 127.0.0.1:${port}, the proxy of grpc_proxy$`, 'm'),
    );
    expect(stdout).toMatch(/^FAIL +client +not READY within 500 ms/m);
  });
});

describe('a service config in DNS', () => {
  it('that is valid is told', async () => {
    names.text = 'grpc_config=[{"serviceConfig":{"loadBalancingConfig":[{"round_robin":{}}]}}]';
    const { code, of } = await doctorOfName();
    expect(code).toBe(0);
    expect(of('dns-config')).toMatchObject({ status: 'ok', facts: { record: expect.stringContaining('round_robin') } });
  });

  it.each([
    [
      '[{"serviceConfig":{"methodConfig":[{"name":[{}],"timeout":"500ms"}]}}]',
      '_grpc_config.orders.example[0].serviceConfig.methodConfig[0].timeout',
    ],
    ['{"serviceConfig":{}}', '_grpc_config.orders.example'],
    ['[{"servicConfig":{}}]', '_grpc_config.orders.example[0].servicConfig'],
  ])('that is wrong is told with the place: %s', async (text, path) => {
    names.text = `grpc_config=${text}`;
    const { code, of } = await doctorOfName();
    expect(code).toBe(1);
    expect(of('dns-config').status).toBe('failed');
    expect(
      of('dns-config').problems?.map((problem) =>
        problem.path.replace('["_grpc_config.orders.example"]', '_grpc_config.orders.example'),
      ),
    ).toContain(path);
  });

  it('of other clients is told as such', async () => {
    names.text = 'grpc_config=[{"clientLanguage":["go"],"serviceConfig":{}}]';
    expect((await doctorOfName()).of('dns-config').says).toContain('has nothing for this client');
  });
});
