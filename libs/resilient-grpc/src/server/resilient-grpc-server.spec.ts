import assert from 'node:assert/strict';
import { join } from 'node:path';
import { ConsoleLogger, Logger } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { EventHub } from '../call/event-hub.js';
import type { GrpcServerEvent } from '../call/server-event.js';
import type { ServerTelemetry } from '../telemetry/grpc-telemetry.js';
import { VirtualClock } from '../../../../test/unit-support/virtual-clock.js';
import type { OverloadState } from './overload/overload-state.js';
import { resolveServerOptions } from './resolve-server-options.js';
import { ResilientGrpcServer } from './resilient-grpc-server.js';

const ORDERS_PROTO = join(import.meta.dirname, '../../../../protos/orders.proto');

/** Connects a server to an application, in virtual time, and records the log lines and telemetry events of the server. */
function connectServer() {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const write = (line: unknown): void => void lines.push(String(line));
  Logger.overrideLogger({ log: write, warn: write, error: write });
  onTestFinished(() => {
    Logger.overrideLogger(new ConsoleLogger());
  });
  const stopObserving = vi.fn<() => void>();
  const recorded: GrpcServerEvent[] = [];
  const recorder: ServerTelemetry = {
    begin: () => assert.fail('no call is expected'),
    refused: () => undefined,
    take: (event) => recorded.push(event),
    observe: () => stopObserving,
  };
  const options = { package: 'orders.v1', protoPath: ORDERS_PROTO, url: '127.0.0.1:0' };
  const modules = new ModulesContainer();
  const server = new ResilientGrpcServer(resolveServerOptions(options, 'forRoot'), {
    clock,
    random: () => 0.5,
    captures: () => false,
    modules,
    telemetry: { forServer: () => recorder, forClient: () => undefined },
  });
  modules.addRpcTarget(server);
  const listen = async () => {
    expect(await new Promise((resolve) => void server.listen(resolve))).toBeUndefined();
  };
  return { server, listen, clock, lines, stopObserving, recorded };
}

async function startServer() {
  const connected = connectServer();
  await connected.listen();
  return connected;
}

describe('ResilientGrpcServer', () => {
  it('releases the port, timers, and telemetry of a server on close(), and writes pending log lines, even if the drain fails', async () => {
    const { server, clock, lines, stopObserving, recorded } = await startServer();
    const events = Reflect.get(server, 'events') as EventHub<GrpcServerEvent>;
    const overloadState = Reflect.get(server, 'overloadState') as OverloadState;
    overloadState.note({ size: 1, isOverloaded: true, settle: () => false });
    for (let call = 0; call < 3; call++) events.emit({ type: 'extra-response', path: '/orders.v1.Orders/Get' });
    server.health.endWatches = () => assert.fail('broken');
    await expect(server.close()).rejects.toThrow('broken');
    expect(server.port).toBeUndefined();
    expect(Reflect.get(server, 'grpcClient')).toBeNull();
    expect(lines.filter((line) => line.includes('(1 more in the last minute)'))).toHaveLength(1);
    expect(clock.pending).toBe(0);
    expect(stopObserving).toHaveBeenCalledOnce();
    const before = recorded.length;
    events.emit({ type: 'extra-response', path: '/orders.v1.Orders/Get' });
    expect(recorded).toHaveLength(before);
    // Nest closes a strategy again if the application is closed again.
    await expect(server.close()).resolves.toBeUndefined();
  });

  it('logs no warning about a missing start if a connected server starts after the application', async () => {
    const { server, listen, clock, lines } = connectServer();
    server.markBootstrapped();
    await listen();
    clock.advance(60_000);
    expect(lines).toEqual([
      expect.stringMatching(/^listening on/),
      expect.stringMatching(/^methods without a handler \(UNIMPLEMENTED\): \/orders\.v1\.Orders\/Get, /),
    ]);
    await server.close();
  });

  it('logs no warning about a missing start if the application shuts down, and clears the timer of the warning', async () => {
    const { server, clock, lines } = connectServer();
    server.markBootstrapped();
    server.drain.begin();
    clock.advance(5_000);
    expect(lines).toEqual([]);
    const closed = connectServer();
    closed.server.markBootstrapped();
    await closed.server.close();
    expect(closed.clock.pending).toBe(0);
  });

  it('rejects a server that the application creates directly, and names the module', () => {
    const create = () => new ResilientGrpcServer({ url: '127.0.0.1:0' } as never, undefined as never);
    expect(create).toThrow(
      new TypeError(
        'ResilientGrpcServer: expected an instance from ResilientGrpcServerModule, got new ResilientGrpcServer(options); ' +
          'write imports: [ResilientGrpcServerModule.forRoot(options)] in a module, and strategy: app.get(ResilientGrpcServer)',
      ),
    );
  });
});
