import assert from 'node:assert/strict';
import { join } from 'node:path';
import { ConsoleLogger, Logger } from '@nestjs/common';
import { ModulesContainer } from '@nestjs/core';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { EventHub } from '../call/event-hub.js';
import type { GrpcServerEvent } from '../call/server-event.js';
import type { ServerTelemetry } from '../telemetry/grpc-telemetry.js';
import { VirtualClock } from '../testing/virtual-clock.js';
import type { OverloadState } from './overload/overload-state.js';
import { resolveServerOptions } from './resolve-server-options.js';
import { ResilientGrpcServer } from './resilient-grpc-server.js';

const ORDERS_PROTO = join(import.meta.dirname, '../../../../protos/orders.proto');

/** Starts a server in virtual time, and records its log lines and telemetry events. */
async function startServer() {
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
  const server = new ResilientGrpcServer(resolveServerOptions(options, 'forRoot'), {
    clock,
    random: () => 0.5,
    captures: () => false,
    modules: new ModulesContainer(),
    telemetry: { forServer: () => recorder, forClient: () => undefined },
  });
  const failure = await new Promise((resolve) => void server.listen(resolve));
  expect(failure).toBeUndefined();
  return { server, clock, lines, stopObserving, recorded };
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
    expect(lines.filter((line) => line.includes('(2 more in the last minute)'))).toHaveLength(1);
    expect(clock.pending).toBe(0);
    expect(stopObserving).toHaveBeenCalledOnce();
    const before = recorded.length;
    events.emit({ type: 'extra-response', path: '/orders.v1.Orders/Get' });
    expect(recorded).toHaveLength(before);
    // Nest closes a strategy again if the application is closed again.
    await expect(server.close()).resolves.toBeUndefined();
  });
});
