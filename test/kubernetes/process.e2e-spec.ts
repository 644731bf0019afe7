import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { ConfigurableModuleBuilder } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { getGrpcClientToken, ResilientGrpcModule, type ResilientGrpcClient } from 'nestjs-resilient-grpc';
import { registerKubernetesResolver } from 'nestjs-resilient-grpc/kubernetes';
import { waitFor } from 'nestjs-resilient-grpc/testing';
import { firstValueFrom } from 'rxjs';
import { describe, expect, it } from 'vitest';
import type { EchoService } from '../calls/support.js';
import { ECHO_PROTO } from '../testing/echo-client.js';
import type { ApiServerStub } from './api-server-stub.js';
import { startApiServer, startPods, TARGET } from './support.js';

const run = promisify(execFile);
const PROGRAM = fileURLToPath(new URL('calling-process.mjs', import.meta.url));

interface Printed {
  readonly names?: readonly string[];
  readonly transport?: string;
  readonly error?: string;
}

/** Runs the program until it exits, and returns its parsed output. */
async function runProgram(
  api: ApiServerStub,
  {
    env = {},
    target = TARGET,
    mode = '',
  }: { env?: Readonly<Record<string, string>>; target?: string; mode?: string } = {},
): Promise<Printed> {
  const { stdout } = await run(process.execPath, [PROGRAM, ECHO_PROTO, target, mode], {
    env: { ...process.env, KUBECONFIG: api.kubeconfig, ...env },
    timeout: 60_000,
  });
  return JSON.parse(stdout) as Printed;
}

describe('process with a kubernetes target', () => {
  it('lets a process exit while its client and the Kubernetes watch are open', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    expect(await runProgram(api)).toEqual({ names: Array(5).fill('a'), transport: 'socket' });
    expect(api.requests.map(({ kind }) => kind)).toEqual(['list', 'watch']);
    await waitFor(() => api.openWatches === 0);
  });

  it('connects to the pods and ignores the HTTP proxy in the environment', async () => {
    const api = await startApiServer();
    const [a] = await startPods(api, 'a');
    // The target has a port number, because grpc-js uses no proxy for a target with a port name. Nothing listens on port 1.
    const target = `kubernetes:///orders:${String(a!.server.port)}`;
    const env = { http_proxy: 'http://127.0.0.1:1', no_proxy: '', no_grpc_proxy: '' };
    expect(await runProgram(api, { env, target })).toMatchObject({ names: Array(5).fill('a') });
  });

  it('fails at startup and names the function that registers the Kubernetes resolver if the resolver is not registered', async () => {
    const api = await startApiServer();
    const { error } = await runProgram(api, { mode: 'unregistered' });
    expect(error).toBe(
      "clients.echo.url: expected a registered resolver for 'kubernetes:', got none; call registerKubernetesResolver() from nestjs-resilient-grpc/kubernetes before the module that contains this client is configured",
    );
  });
});

describe('Nest application', () => {
  it('registers the Kubernetes resolver in the factory of forFeatureAsync, with options that Nest injects into the factory', async () => {
    const api = await startApiServer();
    await startPods(api, 'a');
    const { ConfigurableModuleClass, MODULE_OPTIONS_TOKEN } = new ConfigurableModuleBuilder<{
      kubeconfig: string;
    }>().build();
    class ConfigModule extends ConfigurableModuleClass {}
    const config = { ...ConfigModule.register({ kubeconfig: api.kubeconfig }), exports: [MODULE_OPTIONS_TOKEN] };
    class AppModule {}
    const clients = ResilientGrpcModule.forFeatureAsync([
      {
        name: 'echo',
        protoPath: ECHO_PROTO,
        imports: [config],
        inject: [MODULE_OPTIONS_TOKEN],
        useFactory: ({ kubeconfig }: { kubeconfig: string }) => {
          registerKubernetesResolver({ kubeconfig });
          return { url: TARGET };
        },
      },
    ]);
    const app = await NestFactory.createApplicationContext(
      { module: AppModule, imports: [clients] },
      { logger: false },
    );
    const client = app.get<ResilientGrpcClient>(getGrpcClientToken('echo'));
    expect(await firstValueFrom(client.getService<EchoService>('Echo').unary({}))).toMatchObject({ text: 'a' });
    await app.close();
    await waitFor(() => api.openWatches === 0);
  });
});
