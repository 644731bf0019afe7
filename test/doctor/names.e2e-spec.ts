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
  names.hasRecords = true;
  port = server.port;
});

describe('target name', () => {
  it("resolves the name of the doctor's target with the name server in the target, as the client does", async () => {
    const { code, of } = await doctor([`dns://${names.url}/orders.example:${port}`], {
      env: { GRPC_NODE_USE_ALTERNATIVE_RESOLVER: 'true' },
    });
    expect(code).toBe(0);
    expect(of('target')).toMatchObject({
      status: 'ok',
      facts: { addresses: [`127.0.0.1:${port}`] },
    });
  });

  it("fails the doctor's target check if the name does not exist", async () => {
    const { code, of } = await doctor(['orders.invalid:50051']);
    expect(code).toBe(1);
    expect(of('target').status).toBe('failed');
    // A machine without DNS reports an unreachable name server.
    expect(of('target').facts['code']).toMatch(/^(ENOTFOUND|EAI_AGAIN|ETIMEDOUT)$/);
  });

  it("fails the doctor's target check with a remedy if the target has an http scheme", async () => {
    const { code, of } = await doctor(['http://orders:50051']);
    expect(code).toBe(1);
    expect(of('target').problems).toMatchObject([
      { path: 'target', message: expect.stringMatching(/; write 'orders:50051'$/) },
    ]);
  });

  it("fails the doctor's target check and reports every problem if the target and an option are invalid", async () => {
    const { code, of } = await doctor(['dns:///orders; write:50051', '--ca', '/there/is/none.pem']);
    expect(code).toBe(1);
    expect(of('target').problems).toEqual([
      { path: 'target', message: 'expected a target without whitespace, got "dns:///orders; write:50051"' },
      { path: '--ca', message: expect.stringContaining('ENOENT') },
    ]);
  });

  it("fails the doctor's target check if grpc-js has no built-in resolver for the scheme of the target", async () => {
    const { code, of } = await doctor(['xds:///orders']);
    expect(code).toBe(1);
    expect(of('target').message).toBe("grpc-js has no built-in resolver for 'xds:'");
  });

  it("warns in the doctor's proxy check if the environment sets a proxy", async () => {
    // Checks only stdout, because grpc-js itself also logs the proxy to stderr.
    const { stdout } = await command(['doctor', 'orders.example:50051', '--connect-timeout', '0.5s'], {
      env: { grpc_proxy: `http://127.0.0.1:${port}` },
    });
    expect(stdout).toMatch(
      new RegExp(`^warn +proxy +connections go through the proxy 127.0.0.1:${port}, set by grpc_proxy$`, 'm'),
    );
    expect(stdout).toMatch(/^FAIL +client +not READY within 500 ms/m);
  });

  it("omits the doctor's proxy check if no_grpc_proxy excludes a target with an @", async () => {
    const { stdout } = await command(['doctor', `x@127.0.0.1:${port}`, '--connect-timeout', '0.5s'], {
      env: { grpc_proxy: 'http://127.0.0.1:9', no_grpc_proxy: '127.0.0.1' },
    });
    expect(stdout).toMatch(/^\S+ +target /m);
    expect(stdout).not.toContain('grpc_proxy');
  });

  it("names the proxy in the doctor's target check if the name of the proxy does not resolve", async () => {
    const { stdout } = await command(['doctor', 'orders.example:50051', '--connect-timeout', '2s'], {
      env: { grpc_proxy: 'http://proxy.invalid:3128' },
    });
    expect(stdout).toMatch(
      /^FAIL +target +the proxy proxy\.invalid:3128, set by grpc_proxy, cannot be resolved: .*\n +-> correct grpc_proxy/m,
    );
  });
});
