import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import {
  Server,
  ServerCredentials,
  credentials,
  loadPackageDefinition,
  type ClientDuplexStream,
  type ServiceClientConstructor,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync, type PackageDefinition } from '@grpc/proto-loader';
import { ReflectionService } from '@grpc/reflection';
import { describe, expect, it, onTestFinished } from 'vitest';
import { isGrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { captureLeaks } from '../testing/leaks/capture-leaks.js';
import { waitFor } from '../testing/wait-for.js';
import { addReflection } from './reflection.js';
import { ServiceStreams } from './service-streams.js';

// A real server of grpc-js, and a client made from the protocol's own file.

const ORDERS = 'shop.v1.Orders';
const definition = loadSync(join(import.meta.dirname, '../client/settings/fixtures/shop.proto'));
const protos = join(dirname(createRequire(import.meta.url).resolve('@grpc/reflection')), '../proto/grpc/reflection');
const input = { definition, services: [ORDERS], health: true, path: 'forRoot' };

type Version = 'v1' | 'v1alpha';

function clientOf(version: Version, port: number) {
  const loaded = loadPackageDefinition(loadSync(join(protos, version, 'reflection.proto'), { oneofs: true })) as any;
  const Client = loaded.grpc.reflection[version].ServerReflection as ServiceClientConstructor;
  return new Client(`127.0.0.1:${String(port)}`, credentials.createInsecure());
}

async function make(change: { health?: boolean; version?: Version; before?: (server: Server) => void } = {}) {
  const { health = true, version = 'v1', before } = change;
  const leaks = captureLeaks();
  const standing = new ServiceStreams();
  const server = new Server();
  before?.(server);
  addReflection(server, { ...input, health, standing });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  const client = clientOf(version, port);
  onTestFinished(async () => {
    client.close();
    server.forceShutdown();
    await leaks.settled();
  });
  /** A stream of questions that stays open. */
  const open = () => {
    const replies: any[] = [];
    const failures: string[] = [];
    const call = client['serverReflectionInfo']!() as ClientDuplexStream<object, object>;
    call.on('data', (reply) => replies.push(reply));
    call.on('error', (error: ServiceError) => failures.push(`${String(error.code)} ${error.details}`));
    return { call, replies, failures };
  };
  const ask = async (question: object) => {
    const { call, replies } = open();
    call.write(question);
    const reply = await waitFor(() => replies[0]);
    call.end();
    return reply;
  };
  return { server, standing, open, ask };
}

describe('reflection', () => {
  it.each(['v1', 'v1alpha'] as const)('lists the services that are served, health among them (%s)', async (version) => {
    const { ask } = await make({ version });
    const { listServicesResponse } = await ask({ listServices: '*' });
    const names = listServicesResponse.service.map(({ name }: { name: string }) => name);
    // Of the same file, and not served.
    expect(names).not.toContain('shop.v1.Nothing');
    expect(names.sort()).toEqual(['grpc.health.v1.Health', ORDERS]);
  });

  it.each([
    [ORDERS, 'Upload'],
    ['shop.v1.Order', 'sequence'],
    ['grpc.health.v1.Health', 'HealthCheckRequest'],
  ])('finds the file of %s', async (fileContainingSymbol, holds) => {
    const { ask } = await make();
    const { fileDescriptorResponse } = await ask({ fileContainingSymbol });
    expect(fileDescriptorResponse.fileDescriptorProto.some((file: Buffer) => file.includes(holds))).toBe(true);
  });

  it('knows nothing of health where that is not served', async () => {
    const { ask } = await make({ health: false });
    const { errorResponse } = await ask({ fileContainingSymbol: 'grpc.health.v1.Health' });
    expect(errorResponse.errorCode).toBe(5);
  });

  it('answers several questions of one stream', async () => {
    const { open } = await make();
    const { call, replies } = open();
    for (let i = 0; i < 5; i++) call.write({ fileContainingSymbol: ORDERS });
    await waitFor(() => replies.length === 5);
    call.end();
  });

  it('does not hold a shutdown by a stream that its client keeps', async () => {
    const { server, standing, open } = await make();
    const { call, replies, failures } = open();
    call.write({ listServices: '*' });
    await waitFor(() => replies.length === 1);
    expect(standing.size).toBe(1);
    let over = false;
    server.tryShutdown(() => (over = true));
    standing.end();
    await waitFor(() => over && failures.length === 1);
    expect(failures).toEqual(['14 The server is shutting down']);
    expect(standing.size).toBe(0);
  });

  it('stands back where the application serves it by itself', async () => {
    const { ask } = await make({
      before: (server) => {
        new ReflectionService(definition, { services: ['shop.v1.Nothing'] }).addToServer(server);
      },
    });
    const { listServicesResponse } = await ask({ listServices: '*' });
    expect(listServicesResponse.service).toEqual([{ name: 'shop.v1.Nothing' }]);
  });
});

describe('a start with reflection', () => {
  const problemOf = (run: () => void) => {
    try {
      run();
      return expect.unreachable();
    } catch (error) {
      if (!isGrpcConfigurationError(error)) throw error;
      return error.message;
    }
  };

  it('fails where the package is not installed, and says how to install it', () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'no-packages-'));
    onTestFinished(() => {
      rmSync(elsewhere, { recursive: true });
    });
    const message = problemOf(() => {
      addReflection(new Server(), { ...input, standing: new ServiceStreams() }, join(elsewhere, 'index.js'));
    });
    expect(message).toMatch(
      /^forRoot\.reflection: expected the package @grpc\/reflection.*run npm install @grpc\/reflection$/,
    );
  });

  it('fails for a definition that does not hold its files, which would list nothing', () => {
    const bare = { [ORDERS]: definition[ORDERS] } as PackageDefinition;
    const message = problemOf(() => {
      addReflection(new Server(), { ...input, definition: bare, standing: new ServiceStreams() });
    });
    expect(message).toMatch(/^forRoot\.reflection: expected a packageDefinition of proto-loader.*write protoPath/);
  });
});
