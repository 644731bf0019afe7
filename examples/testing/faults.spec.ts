import { Test } from '@nestjs/testing';
import {
  FaultProxy,
  Http2FaultProxy,
  ScriptedGrpcServer,
  overrideGrpcClient,
  waitFor,
} from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Shop, ShopModule } from './shop.js';

describe('Shop behind a bad network', () => {
  let server: ScriptedGrpcServer;
  beforeEach(async () => {
    server = await ScriptedGrpcServer.start({ protoPath: 'protos/orders.proto' });
  });
  afterEach(async () => {
    await server.close();
  });

  // #region network
  test('sends a read again after its connection was reset', async () => {
    server.script('Get', { message: { item: 'tea' }, hold: 'everything' });
    const proxy = await FaultProxy.start(server.url);
    const builder = Test.createTestingModule({ imports: [ShopModule] });
    const app = await overrideGrpcClient(builder, 'orders', { url: proxy.url }).compile();

    const item = app.get(Shop).item('7');
    await waitFor(() => server.heldCount('Get') === 1);
    proxy.refuse(); // new connections are refused
    proxy.resetAll(); // open connections are reset
    server.script('Get', { message: { item: 'coffee' } });
    await proxy.forward(); // the network works again
    expect(await item).toBe('coffee');
    await app.close();
    await proxy.close();
  });
  // #endregion

  // #region http2
  test('survives refused streams, a lost response, and a draining connection', async () => {
    server.script('Get', { message: { item: 'tea' } });
    const proxy = await Http2FaultProxy.start(server.url);
    const builder = Test.createTestingModule({ imports: [ShopModule] });
    const app = await overrideGrpcClient(builder, 'orders', { url: proxy.url }).compile();
    const shop = app.get(Shop);

    // Three attempts do not reach the server. `Get` is safe to repeat, so the client sends them again.
    proxy.failCalls({ kind: 'reset', code: 'REFUSED_STREAM' }, { method: 'Get', times: 3 });
    expect(await shop.item('7')).toBe('tea');
    expect(server.counts('Get').calls).toBe(1);

    // The server executes the call, but its response is lost.
    proxy.failCalls({ kind: 'reset', code: 'INTERNAL_ERROR', at: 'headers' }, { method: 'Get' });
    expect(await shop.item('7')).toBe('tea');
    expect(server.counts('Get').calls).toBe(3);

    // The server drains its connections.
    proxy.goaway({ debugData: 'max_age' });
    expect(await shop.item('7')).toBe('tea');
    expect(proxy.counters.accepted).toBe(2);
    await app.close();
    await proxy.close();
  });
  // #endregion
});
