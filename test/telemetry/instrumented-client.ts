import { loadPackageDefinition } from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { LoggerService } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import {
  ResilientGrpcModule,
  getGrpcClientToken,
  type GrpcClientSettings,
  type ResilientGrpcClient,
} from 'nestjs-resilient-grpc';
import { ResilientGrpcTelemetryModule, type ResilientGrpcTelemetryOptions } from 'nestjs-resilient-grpc/telemetry';
import type { ScriptedGrpcServer } from 'nestjs-resilient-grpc/testing';
import { onTestFinished } from 'vitest';
import { startServer, type EchoService, type EchoStub, type ServerSettings } from '../calls/support.js';
import { ECHO_PROTO } from '../testing/echo-client.js';

const ECHO = (loadPackageDefinition(loadSync(ECHO_PROTO)) as any).testing.v1.Echo;

export interface InstrumentedClient {
  readonly client: ResilientGrpcClient;
  readonly echo: EchoStub;
  close(): Promise<void>;
}

/** Starts an application with the client 'echo' and, by default, the telemetry module. The application is closed after the test. */
export async function instrumentedClient(
  url: string,
  settings: Partial<GrpcClientSettings> = {},
  telemetry?: ResilientGrpcTelemetryOptions | 'no module' | 'no options',
  logger: LoggerService | false = false,
): Promise<InstrumentedClient> {
  class AppModule {}
  const app = await NestFactory.createApplicationContext(
    {
      module: AppModule,
      imports: [
        ...moduleOf(telemetry),
        ResilientGrpcModule.forRoot({ drain: { timeoutMs: 300 } }),
        ResilientGrpcModule.forFeature([{ name: 'echo', protoPath: ECHO_PROTO, url, ...settings }]),
      ],
    },
    { logger, abortOnError: false },
  );
  let closing: Promise<void> | undefined;
  const close = () => (closing ??= app.close());
  onTestFinished(close);
  const client = app.get<ResilientGrpcClient>(getGrpcClientToken('echo'));
  return { client, echo: client.getService<EchoService>('Echo'), close };
}

function moduleOf(telemetry: ResilientGrpcTelemetryOptions | 'no module' | 'no options' | undefined) {
  if (telemetry === 'no module') return [];
  return [telemetry === 'no options' ? ResilientGrpcTelemetryModule : ResilientGrpcTelemetryModule.forRoot(telemetry)];
}

/** Starts an echo server and an instrumented client of it. Both are closed after the test. */
export async function instrumentedScene(
  settings: Partial<GrpcClientSettings> = {},
  options: ServerSettings = {},
  telemetry?: ResilientGrpcTelemetryOptions | 'no module' | 'no options',
): Promise<InstrumentedClient & { readonly server: ScriptedGrpcServer }> {
  const server = await startServer(options);
  return { server, ...(await instrumentedClient(server.url, settings, telemetry)) };
}

/** Serialized size of a message in bytes, before compression. */
export function bytesOfEcho(message: object): number {
  return ECHO.service.Unary.requestSerialize(message).length;
}

/** Service config that hedges ServerStream with a second attempt after 20 ms. */
export const hedged = {
  methodConfig: [
    {
      name: [{ service: 'testing.v1.Echo', method: 'ServerStream' }],
      hedgingPolicy: { maxAttempts: 2, hedgingDelay: '0.02s', nonFatalStatusCodes: ['UNAVAILABLE' as const] },
    },
  ],
};
