import {
  Client,
  credentials,
  ServerCredentials,
  ServerInterceptingCall,
  status,
  type Server,
  type ServerInterceptor,
} from '@grpc/grpc-js';
import { expect, it, onTestFinished } from 'vitest';
import type { ServedCallTelemetry, ServerTelemetry } from '../../telemetry/grpc-telemetry.js';
import { systemClock } from '../../time/clock.js';
import { observedServer } from './observed-server.js';

const plain = (bytes: Buffer): Buffer => bytes;

/** What was told, in order. */
function recording(more: Partial<ServedCallTelemetry> = {}) {
  const told: string[] = [];
  const telemetry: ServerTelemetry = {
    begin: ({ path, kind }) => {
      told.push(`begin ${kind} ${path}`);
      return {
        within: (work) => {
          work();
        },
        received: (bytes) => told.push(`received ${bytes}`),
        sent: (bytes) => told.push(`sent ${bytes}`),
        end: ({ code, details, receivedBytes }) => told.push(`end ${code} ${details} ${receivedBytes}`),
        ...more,
      };
    },
    refused: (code) => told.push(`refused ${code}`),
    take: () => undefined,
  };
  return { told, telemetry };
}

async function listening(server: Server): Promise<Client> {
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  onTestFinished(() => {
    client.close();
    server.forceShutdown();
  });
  return client;
}

function answered(client: Client, path: string): Promise<status> {
  return new Promise((resolve) => {
    const call = client.makeBidiStreamRequest(path, plain, plain);
    call.on('error', () => undefined);
    call.on('status', ({ code }) => {
      resolve(code);
    });
    call.resume();
    call.end();
  });
}

it('does not take a call for a refused one that is answered in the turn it came', async () => {
  const { told, telemetry } = recording();
  const server = observedServer({}, telemetry, systemClock);
  const refuse = (call: { emit(event: string, status: object): void }): void => {
    call.emit('error', { code: status.UNAVAILABLE, details: 'not now' });
  };
  server.register('/a.B/C', refuse, plain, plain, 'bidi');
  const client = await listening(server);
  expect(await answered(client, '/a.B/C')).toBe(status.UNAVAILABLE);
  expect(told).toEqual(['begin bidi /a.B/C', 'end 14 not now 0']);
});

it('tells of a method it does not have that it was refused, and no more', async () => {
  const { told, telemetry } = recording();
  const client = await listening(observedServer({}, telemetry, systemClock));
  expect(await answered(client, '/a.B/D')).toBe(status.UNIMPLEMENTED);
  expect(told).toEqual(['refused 12']);
});

it('runs interceptors that were given in the context of the call', async () => {
  let inside = false;
  const { telemetry } = recording({
    within: (work) => {
      inside = true;
      work();
      inside = false;
    },
  });
  const seen: boolean[] = [];
  const given: ServerInterceptor = (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        next({
          onReceiveMetadata: (metadata, pass) => {
            seen.push(inside);
            pass(metadata);
          },
        });
      },
    });
  const server = observedServer({ interceptors: [given] }, telemetry, systemClock);
  server.register('/a.B/C', (call: { end(): void }) => call.end(), plain, plain, 'bidi');
  await answered(await listening(server), '/a.B/C');
  expect(seen).toEqual([true]);
});
