import { Test } from '@nestjs/testing';
import { ResilientGrpcModule } from 'nestjs-resilient-grpc';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { expect, it, onTestFinished } from 'vitest';
import { freePort } from '../../test/support/free-port.mjs';
import { EventLog } from './event-log.js';
import { serve } from './feed-service.js';
import { Cursors, OrderFeed } from './order-feed.js';
import { follow } from './start-from-state.js';

async function startFeed(port: number, cursors: Cursors) {
  const client = {
    name: 'orders',
    url: `127.0.0.1:${port}`,
    protoPath: 'protos/orders.proto',
    loader: { longs: String },
  };
  const app = await Test.createTestingModule({
    imports: [ResilientGrpcModule.forFeature([client])],
    providers: [OrderFeed, { provide: Cursors, useValue: cursors }],
  }).compile();
  onTestFinished(() => app.close());
  return { app, feed: app.get(OrderFeed) };
}

it('handles each event once while the server and the client restart', async () => {
  const [log, cursors, port] = [new EventLog(), new Cursors(), await freePort()];
  const first = await serve(log, port);
  log.append('tea');
  log.append('cups');
  const { app, feed } = await startFeed(port, cursors);
  const followed = feed.follow();
  await waitFor(() => feed.handled.length === 2);

  await first.close();
  log.append('while the server is down');
  const second = await serve(log, port);
  onTestFinished(() => second.close());
  log.append('live');
  await waitFor(() => feed.handled.length === 4);
  expect(feed.handled).toEqual(['tea', 'cups', 'while the server is down', 'live']);

  await app.close(); // completes the feed
  await followed;
  log.append('while the client is down');
  const { feed: next } = await startFeed(port, cursors);
  void next.follow();
  await waitFor(() => next.handled.length === 1);
  expect(next.handled).toEqual(['while the client is down']);
});

it('ends with OUT_OF_RANGE if the server no longer has the next event, and starts from the current state', async () => {
  const [log, port] = [new EventLog(), await freePort()];
  const service = await serve(log, port);
  onTestFinished(() => service.close());
  for (const item of ['tea', 'cups', 'milk']) log.append(item);
  log.trim(2n);
  const cursors = new Cursors();
  const { app, feed } = await startFeed(port, cursors);
  await expect(feed.follow()).rejects.toMatchObject({
    codeName: 'OUT_OF_RANGE',
    details: 'events up to 2 are no longer kept',
  });

  const followed = follow(feed, cursors, () => log.trimmed());
  await waitFor(() => feed.handled.length === 1);
  expect(feed.handled).toEqual(['milk']);
  await app.close();
  await followed;
});
