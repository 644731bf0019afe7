import 'reflect-metadata';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { loadSync, type Options } from '@grpc/proto-loader';
import { Controller } from '@nestjs/common';
import { GrpcMethod } from '@nestjs/microservices';
import { ResilientGrpcServerModule, type ResilientGrpcServerOptions } from 'nestjs-resilient-grpc/server';
import { captureLeaks, waitFor } from 'nestjs-resilient-grpc/testing';
import { afterAll, describe, expect, it, onTestFinished } from 'vitest';
import { ARCHIVE_PROTO, ORDERS_PROTO } from '../nest/places.js';
import { PYTHON, skipWithout } from '../support/programs.js';
import { healthOf, reflectionOf, serveOrders, startMicroservice, startServers } from './served-orders.js';

const PROTOS = join(import.meta.dirname, 'protos');
const FILES = ['shop/v1/shop.proto', 'common/v1/legacy.proto'];
const IN_PROTOS: Options = { includeDirs: [PROTOS] };

// @grpc/reflection depends on protobufjs.
const reflectionRequire = createRequire(createRequire(import.meta.url).resolve('@grpc/reflection'));
const { FileDescriptorProto } = reflectionRequire('protobufjs/ext/descriptor');

@Controller()
class ShopController {
  @GrpcMethod('Shop', 'Quote')
  quote(order: object): object {
    return order;
  }
}

/** Starts a server of shop.v1.Shop with reflection, and returns its URL. */
async function serveShop(options: Partial<ResilientGrpcServerOptions>): Promise<string> {
  const module = {
    module: class ShopModule {},
    imports: [
      ResilientGrpcServerModule.forRoot({
        package: ['shop.v1', 'common.v1'],
        url: '127.0.0.1:0',
        reflection: true,
        ...options,
      }),
    ],
    controllers: [ShopController],
  };
  const { server } = await startMicroservice(module);
  return `127.0.0.1:${String(server.port)}`;
}

/** Reads the services and all files as grpcurl does: the file of each service, then each imported file by its name. */
async function describeAll(url: string): Promise<{ services: string[]; files: Map<string, Buffer> }> {
  const { call, seen } = reflectionOf(url).open('serverReflectionInfo');
  const ask = async (request: object) => {
    const at = seen.length;
    call.write(request);
    return waitFor(() => seen[at]);
  };
  const { listServicesResponse } = await ask({ listServices: '*' });
  const services: string[] = listServicesResponse.service.map(({ name }: { name: string }) => name);
  const files = new Map<string, Buffer>();
  const add = async (request: object) => {
    const { fileDescriptorResponse, errorResponse } = await ask(request);
    expect(errorResponse, JSON.stringify(request)).toBeUndefined();
    const [first] = fileDescriptorResponse.fileDescriptorProto as Buffer[];
    const { name, dependency } = FileDescriptorProto.decode(first);
    files.set(name, first!);
    for (const file of dependency) if (!files.has(file)) await add({ fileByFilename: file });
  };
  for (const name of services) await add({ fileContainingSymbol: name });
  call.end();
  return { services, files };
}

/** Makes a call from Python that knows only `files`. */
async function callFromPython(url: string, files: Iterable<Buffer>, request: object): Promise<any> {
  const script = join(import.meta.dirname, 'other-runtimes/reflected_call.py');
  let output = '';
  const child = execFile(PYTHON, [script, url, 'shop.v1.Shop.Quote'], (error, stdout, stderr) => {
    output = error === null ? stdout : stderr;
  });
  child.stdin!.end(JSON.stringify({ files: [...files].map((file) => file.toString('base64')), request }));
  await once(child, 'close');
  await waitFor(() => output !== '');
  try {
    return JSON.parse(output);
  } catch {
    throw new Error(output);
  }
}

const leaks = captureLeaks();
afterAll(() => leaks.settled());

describe('reflection', () => {
  it('does not delay the shutdown for an open reflection stream', async () => {
    const { app, url } = await startServers(await serveOrders({ reflection: true, drain: { timeoutMs: 60_000 } }));
    const { call, seen } = reflectionOf(url).open('serverReflectionInfo');
    call.write({ listServices: '*' });
    await waitFor(() => seen.length === 1);
    let closed = false;
    void app.close().then(() => (closed = true));
    await waitFor(() => closed && seen.length === 2, { timeoutMs: 20_000 });
    expect(seen[1]).toBe('14 The server is shutting down');
  });

  it('does not list the services of a package by reflection if the package is loaded but not served', async () => {
    const { url } = await startServers(
      await serveOrders({ reflection: true, protoPath: [ORDERS_PROTO, ARCHIVE_PROTO] }),
    );
    const { call, seen } = reflectionOf(url).open('serverReflectionInfo');
    call.write({ listServices: '*' });
    await waitFor(() => seen.length === 1);
    call.end();
    expect(seen[0].listServicesResponse.service.map(({ name }: { name: string }) => name).sort()).toEqual([
      'grpc.health.v1.Health',
      'orders.v1.Orders',
    ]);
    const { unary } = healthOf(url);
    expect(await unary('check', { service: 'orders.v1.Orders' })).toEqual({ status: 'SERVING' });
    expect(await unary('check', { service: 'archive.v1.Orders' })).toMatch(/^5 /);
  });

  it('does not serve reflection by default', async () => {
    const { url } = await startServers(await serveOrders());
    const { call, seen } = reflectionOf(url).open('serverReflectionInfo');
    call.write({ listServices: '*' });
    await waitFor(() => seen.length === 1);
    expect(seen[0]).toMatch(/^12 /);
  });
});

describe('files of the reflection service', () => {
  const MONEY = { currency_code: 'EUR', units: '12', valid_until: '2030-01-01T00:00:00Z', kind: 'KIND_LARGE' };
  const ORDER = {
    order_id: '7',
    gift_note: '',
    price_paid: MONEY,
    prices_by_name: { list: MONEY },
    counts: { tea: 2 },
    lines: [{ sku: 'a', quantity: 0, alternative: { sku: 'b' } }],
    extras: { color: 'red' },
    kind: 'KIND_LARGE',
  };
  const WELL_KNOWN = {
    'google/protobuf/empty.proto': [],
    'google/protobuf/struct.proto': [],
    'google/protobuf/timestamp.proto': [],
    'grpc/health/v1/health.proto': [],
  };
  const SOURCES = {
    'common/v1/legacy.proto': ['google/protobuf/descriptor.proto', 'shop/v1/shop.proto'],
    'common/v1/money.proto': ['google/protobuf/timestamp.proto', 'kinds/v1/kind.proto'],
    'google/protobuf/descriptor.proto': [],
    'kinds/v1/kind.proto': [],
    'shop/v1/shop.proto': [
      'common/v1/money.proto',
      'google/protobuf/empty.proto',
      'google/protobuf/struct.proto',
      'kinds/v1/kind.proto',
    ],
    ...WELL_KNOWN,
  };
  const BY_PACKAGE = {
    'common/v1/common.proto': ['google/protobuf/timestamp.proto', 'kinds/v1/kinds.proto'],
    'kinds/v1/kinds.proto': [],
    'shop/v1/shop.proto': [
      'common/v1/common.proto',
      'google/protobuf/empty.proto',
      'google/protobuf/struct.proto',
      'kinds/v1/kinds.proto',
    ],
    ...WELL_KNOWN,
  };

  /** The files in another folder, with imports relative to the importing file. */
  const relativeFiles = () => {
    const folder = mkdtempSync(join(tmpdir(), 'protos-'));
    onTestFinished(() => {
      rmSync(folder, { recursive: true });
    });
    for (const file of Object.keys(SOURCES).filter((name) => /^(shop|common|kinds)/.test(name))) {
      mkdirSync(join(folder, dirname(file)), { recursive: true });
      const text = readFileSync(join(PROTOS, file), 'utf8').replaceAll(
        /import "(?=shop|common|kinds)/g,
        'import "../../',
      );
      writeFileSync(join(folder, file), text);
    }
    return FILES.map((file) => join(folder, file));
  };

  it.for<[string, () => Partial<ResilientGrpcServerOptions>, object]>([
    ['protoPath with includeDirs', () => ({ protoPath: FILES, loader: IN_PROTOS }), SOURCES],
    [
      'protoPath with keepCase',
      () => ({ protoPath: FILES.map((file) => join(PROTOS, file)), loader: { ...IN_PROTOS, keepCase: true } }),
      SOURCES,
    ],
    ['protoPath with relative imports', () => ({ protoPath: relativeFiles() }), SOURCES],
    [
      'packageDefinition',
      () => ({
        package: 'shop.v1',
        packageDefinition: loadSync('shop/v1/shop.proto', { ...IN_PROTOS, keepCase: true }),
      }),
      BY_PACKAGE,
    ],
  ])(
    'lets Python call a method that it knows only from the files, with %s',
    async ([, options, expected], { skip }) => {
      skip(...skipWithout('grpcio'));
      const url = await serveShop(options());
      const { services, files } = await describeAll(url);
      expect(services).toContain('shop.v1.Shop');
      const { files: read, response } = await callFromPython(url, files.values(), ORDER);
      expect(read).toEqual(expected);
      expect(response).toEqual(ORDER);
    },
  );
});
