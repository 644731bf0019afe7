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
import { GrpcConfigurationError } from '../errors/grpc-configuration-error.js';
import { captureLeaks } from '../testing/leaks/capture-leaks.js';
import { waitFor } from '../testing/wait-for.js';
import { addReflection } from './reflection.js';
import { ServiceStreams } from './health/service-streams.js';

// Uses a real grpc-js server and a client created from the reflection protocol's .proto file.

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
  const serviceStreams = new ServiceStreams();
  const server = new Server();
  before?.(server);
  addReflection(server, { ...input, health, serviceStreams });
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
  /** Opens a reflection stream and keeps it open. */
  const open = () => {
    const replies: any[] = [];
    const failures: string[] = [];
    const call = client['serverReflectionInfo']!() as ClientDuplexStream<object, object>;
    call.on('data', (reply) => replies.push(reply));
    call.on('error', (error: ServiceError) => failures.push(`${String(error.code)} ${error.details}`));
    return { call, replies, failures };
  };
  const query = async (request: object) => {
    const { call, replies } = open();
    call.write(request);
    const reply = await waitFor(() => replies[0]);
    call.end();
    return reply;
  };
  return { server, serviceStreams, open, query };
}

describe('reflection', () => {
  it.each(['v1', 'v1alpha'] as const)(
    'sends a reflection client the list of the served services, including health (%s)',
    async (version) => {
      const { query } = await make({ version });
      const { listServicesResponse } = await query({ listServices: '*' });
      const names = listServicesResponse.service.map(({ name }: { name: string }) => name);
      // This service is in the same file but is not served.
      expect(names).not.toContain('shop.v1.Nothing');
      expect(names.sort()).toEqual(['grpc.health.v1.Health', ORDERS]);
    },
  );

  it.each([
    [ORDERS, 'Upload'],
    [`${ORDERS}.Watch`, 'Upload'],
    ['shop.v1.Order', 'sequence'],
    ['grpc.health.v1.Health', 'HealthCheckRequest'],
  ])(
    'sends a reflection client the descriptor of the file that defines %s',
    async (fileContainingSymbol, expectedName) => {
      const { query } = await make();
      const { fileDescriptorResponse } = await query({ fileContainingSymbol });
      expect(fileDescriptorResponse.fileDescriptorProto.some((file: Buffer) => file.includes(expectedName))).toBe(true);
    },
  );

  it('returns NOT_FOUND for a reflection request about the health service if it is not served', async () => {
    const { query } = await make({ health: false });
    const { errorResponse } = await query({ fileContainingSymbol: 'grpc.health.v1.Health' });
    expect(errorResponse.errorCode).toBe(5);
  });

  it('answers several reflection requests on one stream', async () => {
    const { open } = await make();
    const { call, replies } = open();
    for (let i = 0; i < 5; i++) call.write({ fileContainingSymbol: ORDERS });
    await waitFor(() => replies.length === 5);
    call.end();
  });

  it('adds no reflection service if the application already serves one', async () => {
    const { query } = await make({
      before: (server) => {
        new ReflectionService(definition, { services: ['shop.v1.Nothing'] }).addToServer(server);
      },
    });
    const { listServicesResponse } = await query({ listServices: '*' });
    expect(listServicesResponse.service).toEqual([{ name: 'shop.v1.Nothing' }]);
  });
});

describe('addReflection', () => {
  const problemOf = (run: () => void) => {
    try {
      run();
      return expect.unreachable();
    } catch (error) {
      if (!(error instanceof GrpcConfigurationError)) throw error;
      return error.message;
    }
  };

  it('throws an error that contains the install command if @grpc/reflection is not installed', () => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'no-packages-'));
    onTestFinished(() => {
      rmSync(elsewhere, { recursive: true });
    });
    const message = problemOf(() => {
      addReflection(new Server(), { ...input, serviceStreams: new ServiceStreams() }, [join(elsewhere, 'index.js')]);
    });
    expect(message).toMatch(
      /^forRoot\.reflection: expected the package @grpc\/reflection.*run npm install @grpc\/reflection \(for a bundled application, next to the bundle\)$/,
    );
  });

  it('rejects a packageDefinition without file descriptors, because the reflection service would list nothing', () => {
    const bare = { [ORDERS]: definition[ORDERS] } as PackageDefinition;
    const message = problemOf(() => {
      addReflection(new Server(), { ...input, definition: bare, serviceStreams: new ServiceStreams() });
    });
    expect(message).toMatch(
      /^forRoot\.reflection: expected a packageDefinition with file descriptors, .*write protoPath/,
    );
  });
});
