import {
  Server,
  ServerCredentials,
  credentials,
  loadPackageDefinition,
  type ClientReadableStream,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import { protoPath } from 'grpc-health-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { captureLeaks } from '../../testing/leaks/capture-leaks.js';
import { waitFor } from '../../testing/wait-for.js';
import { ServiceStreams } from './service-streams.js';
import { GrpcServerHealth, WatchStream } from './serving-health.js';

// Uses a real grpc-js server and client.

const ORDERS = 'orders.v1.Orders';
const { grpc } = loadPackageDefinition(loadSync(protoPath, { enums: String, defaults: true })) as any;
const HealthClient = grpc.health.v1.Health as ServiceClientConstructor;

async function make() {
  const leaks = captureLeaks();
  const serviceStreams = new ServiceStreams();
  const lines: string[] = [];
  const health = new GrpcServerHealth(serviceStreams, { write: (level, text) => lines.push(`${level} ${text}`) });
  const server = new Server();
  health.addTo(server, [ORDERS]);
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  const client = new HealthClient(`127.0.0.1:${String(port)}`, credentials.createInsecure());
  onTestFinished(async () => {
    client.close();
    server.forceShutdown();
    await leaks.settled();
  });
  const check = (service = '') =>
    new Promise<string>((resolve) => {
      client['check']!({ service }, { deadline: Date.now() + 60_000 }, (error: ServiceError | null, reply: any) => {
        resolve(error === null ? reply.status : `${String(error.code)} ${error.details}`);
      });
    });
  const watch = (service = '') => {
    const seen: string[] = [];
    const call = client['watch']!({ service }) as ClientReadableStream<{ status: string }>;
    call.on('data', ({ status }) => seen.push(status));
    call.on('error', (error: ServiceError) => seen.push(`${String(error.code)} ${error.details}`));
    return { seen, call };
  };
  const serve = () => {
    health.markListening();
    health.markBootstrapped();
  };
  return { health, serviceStreams, server, lines, check, watch, serve };
}

describe('GrpcServerHealth', () => {
  it('reports NOT_SERVING after the shutdown starts, even if the status is set to SERVING', async () => {
    const { health, check, serve } = await make();
    serve();
    health.turnNotServing();
    health.setServing('');
    health.setServing(ORDERS);
    expect([await check(), await check(ORDERS)]).toEqual(['NOT_SERVING', 'NOT_SERVING']);
  });

  it('keeps a health status that was set before the application started', async () => {
    const { health, check, serve } = await make();
    health.setNotServing(ORDERS);
    health.setServing('');
    expect([await check(), await check(ORDERS)]).toEqual(['NOT_SERVING', 'NOT_SERVING']);
    serve();
    expect([await check(), await check(ORDERS)]).toEqual(['SERVING', 'NOT_SERVING']);
  });

  it.each(['setServing', 'setNotServing'] as const)('rejects %s() without a service name', async (method) => {
    const { health, check, serve } = await make();
    serve();
    // Simulates a service name from an undefined variable.
    expect(() => {
      health[method](undefined as never);
    }).toThrow(
      new TypeError(
        `GrpcServerHealth.${method}.service: expected a full service name such as 'orders.v1.Orders', or '' for the whole server, got nothing`,
      ),
    );
    expect(await check()).toBe('SERVING');
  });

  it('accepts a health status for custom names and logs a suggestion for a misspelled service name', async () => {
    const { health, lines, check, serve } = await make();
    serve();
    expect(await check('database')).toMatch(/^5 /);
    health.setServing('database');
    expect(await check('database')).toBe('SERVING');
    health.setNotServing('orders.v1.Order');
    health.setNotServing('orders.v1.Order');
    health.setNotServing(ORDERS);
    expect(lines).toEqual([
      "debug health status set for 'database', which is not a service of the contract (orders.v1.Orders)",
      "debug health status set for 'orders.v1.Order', which is not a service of the contract (orders.v1.Orders)",
    ]);
    health.turnNotServing();
    expect(await check('database')).toBe('NOT_SERVING');
  });
});

describe('Watch', () => {
  it('sends each change of the health status once', async () => {
    const { health, watch, serve } = await make();
    const { seen } = watch(ORDERS);
    await waitFor(() => seen.length === 1);
    serve();
    health.markListening();
    health.setServing(ORDERS);
    health.setNotServing(ORDERS);
    health.setNotServing(ORDERS);
    await waitFor(() => seen.length === 3);
    health.setServing(ORDERS);
    await waitFor(() => seen.length === 4);
    expect(seen).toEqual(['NOT_SERVING', 'SERVING', 'NOT_SERVING', 'SERVING']);
  });

  it('rejects a Watch of a name longer than 1,000 characters', async () => {
    const { watch, check, serve } = await make();
    serve();
    const { seen } = watch('x'.repeat(1_001));
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual(['3 A service name can have at most 1000 characters']);
    expect((await check('x'.repeat(5_000))).length).toBeLessThan(1_100);
  });

  it('keeps a Watch of an unknown name open and sends the status when it is set', async () => {
    const { health, watch, serve } = await make();
    serve();
    const { seen } = watch('database');
    await waitFor(() => seen.length === 1);
    health.setServing('database');
    await waitFor(() => seen.length === 2);
    expect(seen).toEqual(['SERVICE_UNKNOWN', 'SERVING']);
  });

  it('rejects a Watch that starts after endWatches(), but still responds to Check', async () => {
    const { health, serviceStreams, check, watch, serve } = await make();
    serve();
    health.turnNotServing();
    health.endWatches();
    const { seen } = watch();
    await waitFor(() => seen.length === 1);
    expect(seen).toEqual(['14 The server is shutting down']);
    expect(await check()).toBe('NOT_SERVING');
    expect(serviceStreams.size).toBe(0);
  });

  it('releases a Watch that its client cancels', async () => {
    const { serviceStreams, watch } = await make();
    const { seen, call } = watch();
    await waitFor(() => seen.length === 1);
    expect(serviceStreams.size).toBe(1);
    call.cancel();
    await waitFor(() => serviceStreams.size === 0);
  });

  it('sends only the latest status to a Watch client that resumes reading', () => {
    const written: string[] = [];
    const listeners = new Map<string, () => void>();
    const call = {
      writableEnded: false,
      once: (event: string, listener: () => void) => listeners.set(event, listener),
      // Reports a full buffer from the third write on, like a stream whose client does not read.
      write: ({ status }: { status: string }) => written.push(status) < 3,
    };
    const stream = new WatchStream(call as never);
    for (let i = 0; i < 1_001; i++) stream.write(i % 2 === 0 ? 'SERVING' : 'NOT_SERVING');
    stream.write('NOT_SERVING');
    expect(written).toHaveLength(3);
    listeners.get('drain')!();
    expect(written).toEqual(['SERVING', 'NOT_SERVING', 'SERVING', 'NOT_SERVING']);
    listeners.get('drain')!();
    expect(written).toHaveLength(4);
  });
});
