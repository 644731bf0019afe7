import { waitFor, type ChildServer } from 'nestjs-resilient-grpc/testing';
import { expect, it, onTestFinished } from 'vitest';
import { startProgram } from '../support.js';

const AGENT = new URL('agent.mjs', import.meta.url).href;

interface Span {
  readonly span: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentId?: string;
}

const spansOf = ({ output }: ChildServer) =>
  output.filter((line) => line.startsWith('{"span"')).map((line) => JSON.parse(line) as Span);

it('shows a call as one client span and one server span of the same trace', async () => {
  const service = await startProgram('first-call/orders-service.ts', {}, AGENT);
  onTestFinished(() => service.close());
  const gateway = await startProgram('first-call/main.ts', { ORDERS_URL: service.url }, AGENT);
  onTestFinished(() => gateway.close());

  const response = await fetch(`http://${gateway.url}/orders/7`, { headers: { connection: 'close' } });
  expect(await response.json()).toEqual({ id: '7', item: 'tea' });
  await waitFor(() => spansOf(gateway).length > 0 && spansOf(service).length > 0);
  const [client] = spansOf(gateway);
  const name = 'grpc.orders.v1.Orders/Get';
  expect(client?.span).toBe(name);
  expect(spansOf(service)).toMatchObject([{ span: name, traceId: client?.traceId, parentId: client?.spanId }]);
});
