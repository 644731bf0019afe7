import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { INestApplication, INestMicroservice, Provider, Type } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Transport, type AsyncMicroserviceOptions, type MicroserviceOptions } from '@nestjs/microservices';
import {
  ResilientGrpcServer,
  ResilientGrpcServerModule,
  type ResilientGrpcServerOptions,
} from 'nestjs-resilient-grpc/server';
import { freePort } from '../../support/free-port.mjs';
import { ParityClient, type ClientSettings } from './client.js';
import { KINDS_PROTO } from './places.js';

/** Nest's own server and its replacement. */
export const SERVERS = ['Transport.GRPC', 'ResilientGrpcServer'] as const;
export type ServerKind = (typeof SERVERS)[number];

type Application = INestApplication | INestMicroservice;

/** Settings of a server under test. */
export interface ServerSettings {
  readonly serverKind: ServerKind;
  readonly controllers: readonly Type[];
  readonly providers?: readonly Provider[];
  /** Options of the server; Nest's server ignores the options that it does not have. @defaultValue kinds.proto on a Unix socket */
  readonly options?: Partial<ResilientGrpcServerOptions>;
  /** Configures global enhancers of the application before it listens. */
  readonly configure?: (app: Application) => void;
  readonly client?: ClientSettings;
  /** @defaultValue false, as in Nest */
  readonly inheritAppConfig?: boolean;
  /** True if the server runs in a standalone microservice without an HTTP server. @defaultValue false */
  readonly alone?: boolean;
}

/** A listening server, and its client. */
export interface RunningServer {
  readonly client: ParityClient;
  /** The address for clients. */
  readonly url: string;
  readonly app: Application;
  readonly microservice: INestMicroservice;
  close(): Promise<void>;
}

/**
 * Starts an application that serves gRPC.
 * @throws if the application fails to start
 */
export async function startServer(settings: ServerSettings): Promise<RunningServer> {
  const folder = mkdtempSync(join(tmpdir(), 'parity-'));
  const options: ResilientGrpcServerOptions = {
    url: `unix:${join(folder, 'grpc.sock')}`,
    package: 'parity.v1',
    ...(settings.options?.packageDefinition === undefined ? { protoPath: KINDS_PROTO } : {}),
    ...settings.options,
  };
  const remove = () => {
    rmSync(folder, { recursive: true });
  };
  try {
    const { app, microservice } = await (settings.alone ? startAlone : startHybrid)(settings, options);
    const client = new ParityClient(options.url!, settings.client);
    return {
      client,
      url: options.url!,
      app,
      microservice,
      close: async () => {
        client.close();
        await app.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
  }
}

export type ServerTest = (client: ParityClient, server: RunningServer) => Promise<void>;

/** Passes a server and its client to `test`, and closes both. */
export async function runWithServer(settings: ServerSettings, test: ServerTest): Promise<void> {
  const server = await startServer(settings);
  try {
    await test(server.client, server);
  } finally {
    await server.close();
  }
}

interface Started {
  readonly app: Application;
  readonly microservice: INestMicroservice;
}

const QUIET = { logger: false, abortOnError: false } as const;

async function startHybrid(settings: ServerSettings, options: ResilientGrpcServerOptions): Promise<Started> {
  const app = await NestFactory.create(moduleOf(settings, options), QUIET);
  try {
    settings.configure?.(app);
    const microservice = app.connectMicroservice<MicroserviceOptions>(
      settings.serverKind === 'Transport.GRPC'
        ? { transport: Transport.GRPC, options }
        : { strategy: app.get(ResilientGrpcServer) },
      { inheritAppConfig: settings.inheritAppConfig ?? false },
    );
    await app.startAllMicroservices();
    await app.init();
    return { app, microservice };
  } catch (error) {
    await app.close();
    throw error;
  }
}

async function startAlone(settings: ServerSettings, options: ResilientGrpcServerOptions): Promise<Started> {
  const app = await NestFactory.createMicroservice<MicroserviceOptions | AsyncMicroserviceOptions>(
    moduleOf(settings, options),
    settings.serverKind === 'Transport.GRPC'
      ? { ...QUIET, transport: Transport.GRPC, options }
      : {
          ...QUIET,
          inject: [ResilientGrpcServer],
          useFactory: (strategy: ResilientGrpcServer) => ({ strategy }),
        },
  );
  try {
    settings.configure?.(app);
    await app.listen();
    return { app, microservice: app };
  } catch (error) {
    await app.close();
    throw error;
  }
}

/** Module of the application. Nest's server belongs to no module; ResilientGrpcServer has its own. */
function moduleOf({ serverKind, controllers, providers = [] }: ServerSettings, options: ResilientGrpcServerOptions) {
  class AppModule {}
  return {
    module: AppModule,
    imports: serverKind === 'Transport.GRPC' ? [] : [ResilientGrpcServerModule.forRoot(options)],
    controllers: [...controllers],
    providers: [...providers],
  };
}

/** Returns an unused address on 127.0.0.1. */
export async function freeAddress(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}
