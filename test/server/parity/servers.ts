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
import { KINDS_PROTO } from './places.js';

/** Nest's own server, and ours in its place. */
export const SERVERS = ['Transport.GRPC', 'ResilientGrpcServer'] as const;
export type Which = (typeof SERVERS)[number];

type Application = INestApplication | INestMicroservice;

/** What a test says about its server. */
export interface ServerSettings {
  readonly which: Which;
  readonly controllers: readonly Type[];
  readonly providers?: readonly Provider[];
  /** Of the server; Nest's does nothing with those of ours. @defaultValue kinds.proto, on a socket in the file system */
  readonly options?: Partial<ResilientGrpcServerOptions>;
  /** Says what the application has for all its handlers, before anything listens. */
  readonly configure?: (app: Application) => void;
  /** @defaultValue false, as Nest's */
  readonly inheritAppConfig?: boolean;
  /** A microservice alone, without HTTP beside it. @defaultValue false */
  readonly alone?: boolean;
}

/** A server that listens. */
export interface RunningServer {
  /** For a client. */
  readonly url: string;
  readonly app: Application;
  readonly microservice: INestMicroservice;
  close(): Promise<void>;
}

/**
 * Starts an application that serves gRPC.
 * @throws what the start of the application failed with
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
    return {
      url: options.url!,
      app,
      microservice,
      close: async () => {
        await app.close();
        remove();
      },
    };
  } catch (error) {
    remove();
    throw error;
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
      settings.which === 'Transport.GRPC'
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
    settings.which === 'Transport.GRPC'
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

/** Nest's server belongs to no module; ours has its own. */
function moduleOf({ which, controllers, providers = [] }: ServerSettings, options: ResilientGrpcServerOptions) {
  class AppModule {}
  return {
    module: AppModule,
    imports: which === 'Transport.GRPC' ? [] : [ResilientGrpcServerModule.forRoot(options)],
    controllers: [...controllers],
    providers: [...providers],
  };
}

/** An address of 127.0.0.1 on which nobody listens. */
export async function freeAddress(): Promise<string> {
  return `127.0.0.1:${await freePort()}`;
}
