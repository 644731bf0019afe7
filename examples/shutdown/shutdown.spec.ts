import { ScriptedGrpcServer, waitFor } from 'nestjs-resilient-grpc/testing';
import { expect, it, onTestFinished } from 'vitest';
import { startProgram } from '../support.js';

it('lets a request finish and a feed complete on SIGTERM, and then ends', async () => {
  const server = await ScriptedGrpcServer.start({ protoPath: 'protos/orders.proto' });
  onTestFinished(() => server.close());
  server.script('Get', { message: { id: '7' }, hold: 'everything' });
  server.script('Watch', { messages: [{ sequence: '1' }], never: true });
  const gateway = await startProgram('shutdown/main.ts', { ORDERS_URL: server.url });
  onTestFinished(() => gateway.close());

  const get = (path: string) => fetch(`http://${gateway.url}${path}`, { headers: { connection: 'close' } });
  const order = get('/orders/7').then((response) => response.text());
  let events = '';
  const feed = get('/feed').then(async ({ body }) => {
    for await (const chunk of body ?? []) events += Buffer.from(chunk).toString();
  });
  await waitFor(() => server.heldCount('Get') === 1 && events.includes('data: 1'), { describe: () => events });

  const ended = gateway.terminate(); // sends SIGTERM
  await feed; // ends first, and cleanly
  expect(server.counts('Get').open).toBe(1);
  server.release('Get');
  expect(await order).toContain('"id":"7"');
  await ended;
  expect(gateway.output.join('\n')).toMatch(/1 client drained .*: 1 call finished, 1 stream completed, 0 cut off/);
});
