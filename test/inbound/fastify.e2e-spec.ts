import { FastifyAdapter } from '@nestjs/platform-fastify';
import { ScriptedGrpcServer, captureLeaks, type ScriptedCall } from 'nestjs-resilient-grpc/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ORDERS_PROTO, expectDisconnectCancels, send, startHop, type Hop } from './hop.js';

const leaks = captureLeaks();
let server: ScriptedGrpcServer;
let hop: Hop;
let seen: ScriptedCall<{ id: string }>[];

beforeAll(async () => {
  server = await ScriptedGrpcServer.start({ protoPath: ORDERS_PROTO });
  hop = await startHop({
    downstream: server.url,
    root: { propagate: { deadline: true, cancellation: true, metadata: ['x-request-id'] } },
    adapter: () => new FastifyAdapter(),
  });
});
beforeEach(() => {
  seen = [];
  server.reset();
  server.script<{ id: string }>('Get', (call) => {
    seen.push(call);
    return { message: { id: call.request.id } };
  });
});
afterAll(async () => {
  await hop.close();
  await server.close();
  await leaks.settled();
});

describe('propagation on Fastify', () => {
  it.each([
    ['a handler', 'operators:1', {}],
    ['a guard', 'guarded/plain:1', {}],
    [
      'a handler of a request with a body',
      'awaited:1',
      { method: 'POST', body: JSON.stringify({ text: 'x'.repeat(100_000) }) },
    ],
  ])('propagates the deadline and headers of a Fastify request to the calls of %s', async (_, path, init) => {
    const headers = { 'grpc-timeout': '20000m', 'x-request-id': 'r-1', 'content-type': 'application/json' };
    expect(await send(hop, path, { ...init, headers })).toBeLessThan(300);
    expect(seen).toHaveLength(2);
    for (const call of seen) {
      expect(call.deadline - Date.now()).toBeLessThan(20_000);
      expect(call.metadata.get('x-request-id')).toEqual(['r-1']);
    }
  });

  it('cancels outbound calls when the HTTP client disconnects from Fastify', async () => {
    await expectDisconnectCancels(hop, server);
  });
});
