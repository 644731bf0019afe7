import { setTimeout as delay } from 'node:timers/promises';
import { Test } from '@nestjs/testing';
import { overrideGrpcClient, type ChildServer } from 'nestjs-resilient-grpc/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { startProgram } from '../support.js';
import { Shop, ShopModule } from './shop.js';

describe('Shop with a server that is killed', () => {
  let server: ChildServer;
  beforeEach(async () => {
    server = await startProgram('first-call/orders-service.ts');
  });
  afterEach(async () => {
    await server.close();
  });

  // #region all
  test('repeats a read if the server is killed during the call', async () => {
    const builder = Test.createTestingModule({ imports: [ShopModule] });
    const settings = { url: server.url, outageGraceMs: 20_000 }; // time for the process to start again
    const app = await overrideGrpcClient(builder, 'orders', settings).compile();
    const shop = app.get(Shop);
    expect(await shop.item('7')).toBe('tea');

    server.freeze(); // SIGSTOP: connections stay open, and nothing answers
    const item = shop.item('7');
    await delay(100); // the request is sent
    await server.kill(); // SIGKILL
    await server.restart(); // on the same port
    expect(await item).toBe('tea');
    await app.close();
  });
  // #endregion
});
