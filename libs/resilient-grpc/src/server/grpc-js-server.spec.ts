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
import type { ServedCallTelemetry, ServerTelemetry } from '../telemetry/grpc-telemetry.js';
import { systemClock } from '../time/clock.js';
import { GrpcJsServer } from './grpc-js-server.js';

const IGNORED = { onUnserializable: () => undefined, onUnreadable: () => undefined };

const plain = (bytes: Buffer): Buffer => bytes;

/** Creates telemetry that records the sequence in which its methods are called. */
function makeTelemetry(more: Partial<ServedCallTelemetry> = {}) {
  const recorded: string[] = [];
  const telemetry: ServerTelemetry = {
    begin: ({ path, kind }) => {
      recorded.push(`begin ${kind} ${path}`);
      return {
        within: (work) => {
          work();
        },
        serve: (work) => {
          work();
        },
        received: (bytes) => recorded.push(`received ${bytes}`),
        sent: (bytes) => recorded.push(`sent ${bytes}`),
        end: ({ code, details, receivedBytes }) => recorded.push(`end ${code} ${details} ${receivedBytes}`),
        ...more,
      };
    },
    refused: (code) => recorded.push(`refused ${code}`),
    take: () => undefined,
    observe: () => () => undefined,
  };
  return { recorded, telemetry };
}

function observedServer(telemetry: ServerTelemetry, options = {}): GrpcJsServer {
  return new GrpcJsServer(options, { telemetry, clock: systemClock, conversions: IGNORED, isTraced: false });
}

async function listen(server: Server): Promise<Client> {
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

function callMethod(client: Client, path: string): Promise<status> {
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

it('does not report a call as refused if it is answered in the event-loop turn in which it arrived', async () => {
  const { recorded, telemetry } = makeTelemetry();
  const server = observedServer(telemetry);
  const refuse = (call: { emit(event: string, status: object): void }): void => {
    call.emit('error', { code: status.UNAVAILABLE, details: 'not now' });
  };
  server.register('/a.B/C', refuse, plain, plain, 'bidi');
  const client = await listen(server);
  expect(await callMethod(client, '/a.B/C')).toBe(status.UNAVAILABLE);
  expect(recorded).toEqual(['begin bidi /a.B/C', 'end 14 not now undefined']);
});

it('runs the given server interceptors in the telemetry context of the call', async () => {
  let inside = false;
  const { telemetry } = makeTelemetry({
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
  const server = observedServer(telemetry, { interceptors: [given] });
  server.register('/a.B/C', (call: { end(): void }) => call.end(), plain, plain, 'bidi');
  await callMethod(await listen(server), '/a.B/C');
  expect(seen).toEqual([true]);
});
